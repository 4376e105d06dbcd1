import { useMemo, useState } from "preact/hooks";
import { compact, number, ticks } from "../text/numbers";
import { useSize } from "./hooks";

export interface Series {
  name: string;
  values: (number | null)[];
}

interface StepChartProps {
  title: string;
  series: Series[];
  /** Writes a value; plain numbers unless given. */
  format?: (value: number) => string;
  /** Whether the axis begins at nought. */
  fromZero?: boolean;
}

const HEIGHT = 190;
const MARGIN = { top: 10, right: 12, bottom: 26, left: 56 };

/** Values over steps as lines; the pointer or the arrow keys read them off. */
export function StepChart({ title, series, format = compact, fromZero = true }: StepChartProps) {
  const [attach, size] = useSize();
  const [at, setAt] = useState<number | null>(null);
  const steps = Math.max(0, ...series.map((line) => line.values.length));
  const [low, high] = useMemo(() => bounds(series, fromZero), [series, fromZero]);
  const width = Math.max(size.width, 200);
  const right = width - MARGIN.right;
  const bottom = HEIGHT - MARGIN.bottom;
  const x = (step: number) =>
    MARGIN.left + (steps > 1 ? step / (steps - 1) : 0.5) * (right - MARGIN.left);
  const y = (value: number) => bottom - ((value - low) / (high - low)) * (bottom - MARGIN.top);

  const point = (event: PointerEvent): void => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const share = (event.clientX - box.left - MARGIN.left) / (right - MARGIN.left);
    setAt(Math.max(0, Math.min(steps - 1, Math.round(share * (steps - 1)))));
  };
  const step = (event: KeyboardEvent): void => {
    const move = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
    if (move) {
      event.preventDefault();
      setAt(Math.max(0, Math.min(steps - 1, (at ?? -1) + move)));
    }
  };
  if (steps === 0) {
    return null;
  }
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div
        ref={attach}
        class="chart-frame"
        role="group"
        aria-label={`${title} by step`}
        tabIndex={0}
        onKeyDown={step}
        onBlur={() => setAt(null)}
      >
        <svg
          width={width}
          height={HEIGHT}
          role="img"
          aria-label={`${title} over ${steps} steps: ${series.map((line) => summary(line, format)).join("; ")}`}
          onPointerMove={point}
          onPointerDown={point}
          onPointerLeave={() => setAt(null)}
        >
          {ticks(low, high, 4).map((value) => (
            <g key={value} class="chart-grid">
              <line x1={MARGIN.left} x2={right} y1={y(value)} y2={y(value)} />
              <text x={MARGIN.left - 8} y={y(value)} dy="0.32em" text-anchor="end">
                {format(value)}
              </text>
            </g>
          ))}
          {ticks(0, Math.max(steps - 1, 1), Math.min(steps, width / 80))
            .filter((value) => Number.isInteger(value) && value < steps)
            .map((value) => (
              <text key={value} class="chart-step" x={x(value)} y={HEIGHT - 8} text-anchor="middle">
                {value}
              </text>
            ))}
          {at !== null && (
            <line class="chart-cursor" x1={x(at)} x2={x(at)} y1={MARGIN.top} y2={bottom} />
          )}
          {series.map((line, index) => (
            <g key={line.name} class={`series series-${index}`}>
              <path d={path(line.values, x, y)} />
              {steps <= 40 &&
                line.values.map((value, place) =>
                  value === null ? null : (
                    <circle key={place} cx={x(place)} cy={y(value)} r={place === at ? 4 : 2} />
                  ),
                )}
            </g>
          ))}
        </svg>
      </div>
      <div class="legend">
        {series.map((line, index) => (
          <span key={line.name} class={`legend-item series-${index}`}>
            <span class="legend-mark" aria-hidden="true" />
            {line.name}
            {at !== null && <b>{line.values[at] === null ? "–" : format(line.values[at] ?? 0)}</b>}
          </span>
        ))}
        <output class="legend-step" aria-live="polite">
          {at === null ? "" : `step ${at}`}
        </output>
      </div>
    </figure>
  );
}

function bounds(series: Series[], fromZero: boolean): [number, number] {
  const all = series.flatMap((line) => line.values.filter((value) => value !== null));
  const least = fromZero ? Math.min(0, ...all) : Math.min(...all);
  const most = Math.max(...all);
  // Flat lines lie in the middle of the picture.
  const room = most > least ? 0.05 * (most - least) : Math.abs(most) || 1;
  return [fromZero && least === 0 ? 0 : least - room, most + room];
}

function path(
  values: (number | null)[],
  x: (step: number) => number,
  y: (value: number) => number,
): string {
  let pen = "M";
  return values
    .map((value, step) => {
      if (value === null) {
        pen = "M";
        return "";
      }
      const piece = `${pen}${x(step).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = "L";
      return piece;
    })
    .join("");
}

function summary(line: Series, format: (value: number) => string): string {
  const known = line.values.filter((value) => value !== null);
  return known.length
    ? `${line.name} from ${format(known[0])} to ${format(known[known.length - 1])}, most ${format(Math.max(...known))}`
    : `${line.name} ${number(null)}`;
}
