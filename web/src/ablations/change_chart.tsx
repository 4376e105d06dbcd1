import { type Axis, paddedAxis } from "../parts/axis";
import { useSize } from "../parts/hooks";
import { formatPercent } from "../text/numbers";
import { type Change, formatInterval, LEAST_SHARE } from "./metrics";

interface ChangeChartProps {
  changes: readonly Change[];
  /** Name of the figure. */
  name: string;
  /** The least change that matters. */
  least: number;
}

const ROW = 28;
const MARGIN = { top: 8, right: 16, bottom: 42, left: 112 };
const CAP = 4;
const MEAN = 9;

/** The change of a figure for each part, with its interval, against 0. */
export function ChangeChart({ changes, name, least }: ChangeChartProps) {
  const [attach, size] = useSize();
  const width = Math.max(size.width, 260);
  const right = width - MARGIN.right;
  const bottom = MARGIN.top + ROW * changes.length;
  const height = bottom + MARGIN.bottom;
  const axis = axisOf(changes, least);
  const x = (value: number) => MARGIN.left + axis.fractionOf(value) * (right - MARGIN.left);
  const title = `change of ${name}`;
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={attach} class="chart-frame" style={{ minHeight: `${height}px` }}>
        <svg
          width={width}
          height={height}
          role="img"
          aria-label={`${title}: ${changes.map(({ label, change }) => `${label} ${formatInterval(change, true)}`).join("; ")}`}
        >
          {axis.ticks((right - MARGIN.left) / 90).map((value) => (
            <g key={value} class="chart-grid">
              <line x1={x(value)} x2={x(value)} y1={MARGIN.top} y2={bottom} />
              <text x={x(value)} y={bottom + 18} text-anchor="middle">
                {axis.label(value)}
              </text>
            </g>
          ))}
          <text x={(MARGIN.left + right) / 2} y={height - 6} text-anchor="middle">
            without the part − as it is
          </text>
          <line class="chart-cursor" x1={x(0)} x2={x(0)} y1={MARGIN.top} y2={bottom} />
          {changes.map(({ label, change, isClear }, place) => {
            const y = MARGIN.top + ROW * (place + 0.5);
            const [low, high] = [x(change.low), x(change.high)];
            const cap = (at: number) => `M${at} ${y - CAP}V${y + CAP}`;
            return (
              <g key={label} class={isClear ? "change" : "change change-none"}>
                <title>{`${label}: ${formatInterval(change, true)}`}</title>
                <rect class="change-row" x={0} y={y - ROW / 2} width={width} height={ROW} />
                <text x={MARGIN.left - 10} y={y} dy="0.32em" text-anchor="end">
                  {label}
                </text>
                <path class="plot-deviation" d={`M${low} ${y}H${high}${cap(low)}${cap(high)}`} />
                <rect
                  class="change-value"
                  x={x(change.value) - MEAN / 2}
                  y={y - MEAN / 2}
                  width={MEAN}
                  height={MEAN}
                />
              </g>
            );
          })}
        </svg>
      </div>
      <div class="legend">
        <span class="legend-item">
          <span class="legend-mark change-mark" aria-hidden="true" />
          clear: 0 is not in the interval, and the distance from 1 changes by{" "}
          {formatPercent(LEAST_SHARE)} or more
        </span>
        <span class="legend-item">
          <span class="legend-mark change-mark change-mark-none" aria-hidden="true" />
          not clear
        </span>
      </div>
    </figure>
  );
}

/** Return an axis on which changes that are too small to matter look small. */
function axisOf(changes: readonly Change[], least: number): Axis {
  const ends = changes.flatMap(({ change }) => [change.low, change.high]);
  return paddedAxis([-least, least, ...ends], false);
}
