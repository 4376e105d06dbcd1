import { useMemo, useState } from "preact/hooks";
import { findExtent } from "../colour";
import { formatCompact, formatNumber } from "../text/numbers";
import { integerAxis, linearAxis, preciseAxis } from "./axis";
import { Chart, type PlotArea } from "./chart";

interface Series {
  name: string;
  values: readonly (number | null)[];
}

interface StepChartProps {
  title: string;
  series: readonly Series[];
  /** Return the text of the value at the pointer. */
  format?: (value: number) => string;
  /** Whether the axis begins at 0. */
  fromZero?: boolean;
}

/** Values over steps as lines, read with the pointer or the arrow keys. */
export function StepChart(props: StepChartProps) {
  const { title, series, format = formatCompact, fromZero = true } = props;
  const [at, setAt] = useState<number | null>(null);
  const length = Math.max(0, ...series.map((line) => line.values.length));
  const y = useMemo(() => {
    const [low, high] = bounds(series, fromZero);
    return fromZero ? linearAxis(low, high) : preciseAxis(low, high);
  }, [series, fromZero]);
  if (length === 0) {
    return null;
  }
  const x = integerAxis(0, length - 1);
  const point = (pixel: number, _: number, plane: PlotArea): void => {
    const away = Array.from({ length }, (__, step) => Math.abs(plane.x(step) - pixel));
    setAt(away.indexOf(findExtent(away)[0]));
  };
  return (
    <Chart
      title={title}
      description={`${title} over ${length} steps: ${series.map((line) => summary(line, format)).join("; ")}`}
      label={`${title} by step`}
      x={x}
      y={y}
      onPoint={point}
      onMove={(direction) => setAt(Math.max(0, Math.min(length - 1, (at ?? -1) + direction)))}
      onLeave={() => setAt(null)}
      marks={(plane) => (
        <>
          {at !== null && (
            <line
              class="chart-cursor"
              x1={plane.x(at)}
              x2={plane.x(at)}
              y1={plane.top}
              y2={plane.bottom}
            />
          )}
          {series.map((line, index) => (
            <g key={line.name} class={`series series-${index}`}>
              <path d={path(line.values, plane.x, plane.y)} />
              {length <= 40 &&
                line.values.map((value, place) =>
                  value === null ? null : (
                    <circle
                      key={place}
                      cx={plane.x(place)}
                      cy={plane.y(value)}
                      r={place === at ? 4 : 2}
                    />
                  ),
                )}
            </g>
          ))}
        </>
      )}
    >
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
    </Chart>
  );
}

function bounds(series: readonly Series[], fromZero: boolean): [number, number] {
  const [low, most] = findExtent(
    series.flatMap((line) => line.values.filter((value) => value !== null)),
  );
  const least = fromZero ? Math.min(0, low) : low;
  // A constant line is in the middle of the picture.
  const room = most > least ? 0.05 * (most - least) : Math.abs(most) || 1;
  return [fromZero && least === 0 ? 0 : least - room, most + room];
}

function path(
  values: readonly (number | null)[],
  x: (place: number) => number,
  y: (value: number) => number,
): string {
  let pen = "M";
  return values
    .map((value, place) => {
      if (value === null) {
        pen = "M";
        return "";
      }
      const piece = `${pen}${x(place).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = "L";
      return piece;
    })
    .join("");
}

function summary(line: Series, format: (value: number) => string): string {
  const known = line.values.filter((value) => value !== null);
  return known.length
    ? `${line.name} from ${format(known[0])} to ${format(known[known.length - 1])}, most ${format(findExtent(known)[1])}`
    : `${line.name} ${formatNumber(null)}`;
}
