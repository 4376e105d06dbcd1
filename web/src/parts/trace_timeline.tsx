import { useRef, useState } from "preact/hooks";
import type { TraceCountsByStep } from "../api/types";
import { TRACE_KINDS } from "../generated/choices";
import { formatCount } from "../text/numbers";
import { useSize } from "./hooks";

interface TraceTimelineProps {
  /** Records of each step, without steps that have none. */
  counts: TraceCountsByStep["steps"];
  /** The selected steps; null for an open end. */
  from: number | null;
  to: number | null;
  onSelect: (from: number | null, to: number | null) => void;
}

const HEIGHT = 110;
const BASE = 88;
/** With more steps than this, a bar stands for several. */
const MAX_BARS = 200;

interface Bar {
  first: number;
  last: number;
  /** Counts in the order of the kinds. */
  counts: number[];
  total: number;
}

/** Records by step and kind as bars; dragging over them selects steps. */
export function TraceTimeline({ counts, from, to, onSelect }: TraceTimelineProps) {
  const [attach, size] = useSize();
  const start = useRef<Bar | null>(null);
  const [at, setAt] = useState<Bar | null>(null);
  if (counts.length === 0) {
    return null;
  }
  const bars = makeBars(counts);
  const width = Math.max(size.width, 200);
  const share = width / bars.length;
  const most = Math.max(...bars.map(({ total }) => total));
  const barAt = (event: PointerEvent): Bar => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const place = Math.floor((event.clientX - box.left) / share);
    return bars[Math.max(0, Math.min(bars.length - 1, place))];
  };
  const isSelected = ({ first, last }: Bar) => last >= (from ?? 0) && first <= (to ?? Infinity);
  const move = (event: PointerEvent): void => {
    const bar = barAt(event);
    setAt(bar);
    if (start.current !== null) {
      onSelect(Math.min(start.current.first, bar.first), Math.max(start.current.last, bar.last));
    }
  };
  const last = bars[bars.length - 1].last;
  return (
    <figure class="trace-timeline">
      <figcaption class="legend">
        {TRACE_KINDS.map((kind, index) => (
          <span key={kind} class="legend-item">
            <span class={`kind kind-${kind}`}>{kind}</span>
            {at !== null && <b>{formatCount(at.counts[index])}</b>}
          </span>
        ))}
        <output class="legend-step">
          {at === null ? "Drag over steps to select them." : nameSteps(at)}
        </output>
      </figcaption>
      <div ref={attach}>
        <svg
          width={width}
          height={HEIGHT}
          role="img"
          aria-label={`Records by kind over steps 0 to ${last}, at most ${formatCount(most)} in a step`}
          onPointerDown={(event) => {
            event.currentTarget.setPointerCapture(event.pointerId);
            start.current = barAt(event);
            move(event);
          }}
          onPointerMove={move}
          onPointerUp={() => {
            start.current = null;
          }}
          onPointerLeave={() => setAt(null)}
        >
          {bars.map((bar, index) => {
            let below = 0;
            return (
              <g key={bar.first} class={isSelected(bar) ? "" : "not-selected"}>
                {TRACE_KINDS.map((kind, place) => {
                  const height = ((BASE - 8) * bar.counts[place]) / most;
                  below += height;
                  return (
                    <rect
                      key={kind}
                      class={`bar-${kind}`}
                      x={index * share + Math.min(1, share / 8)}
                      y={BASE - below}
                      width={share - Math.min(2, share / 4)}
                      height={height}
                    />
                  );
                })}
              </g>
            );
          })}
          <text x={0} y={HEIGHT - 6}>
            step 0
          </text>
          {last > 0 && (
            <text x={width} y={HEIGHT - 6} text-anchor="end">
              step {last}
            </text>
          )}
        </svg>
      </div>
    </figure>
  );
}

function nameSteps({ first, last }: Bar): string {
  return first === last ? `step ${first}` : `steps ${first} to ${last}`;
}

function makeBars(counts: TraceCountsByStep["steps"]): Bar[] {
  const steps = counts[counts.length - 1].step + 1;
  const each = Math.ceil(steps / MAX_BARS);
  const bars: Bar[] = Array.from({ length: Math.ceil(steps / each) }, (_, index) => ({
    first: index * each,
    last: Math.min((index + 1) * each, steps) - 1,
    counts: TRACE_KINDS.map(() => 0),
    total: 0,
  }));
  for (const { step, ...byKind } of counts) {
    const bar = bars[Math.floor(step / each)];
    TRACE_KINDS.forEach((kind, place) => {
      bar.counts[place] += byKind[kind];
      bar.total += byKind[kind];
    });
  }
  return bars;
}
