import { useMemo, useState } from "preact/hooks";
import { findExtent } from "../colour";
import { integerAxis, paddedAxis } from "../parts/axis";
import { Chart, type PlotArea } from "../parts/chart";
import { formatNumber } from "../text/numbers";
import { smooth, type TrialCurve } from "./curves";

interface CurveChartProps {
  /** Name of the figure. */
  name: string;
  /** The curves of trials; each has at least two points. */
  curves: readonly TrialCurve[];
  /** Weight of the points before, from 0 to below 1. */
  smoothing: number;
  log: boolean;
  paint: (trial: number) => string;
}

/** The curve of one figure for each trial, read with the pointer or the arrow keys. */
export function CurveChart({ name, curves, smoothing, log, paint }: CurveChartProps) {
  // A curve, and a place on it.
  const [at, setAt] = useState<readonly [number, number] | null>(null);
  const lines = useMemo(
    () => curves.map((curve) => ({ ...curve, drawn: smooth(curve.values, smoothing) })),
    [curves, smoothing],
  );
  const y = useMemo(() => {
    const all = lines.flatMap(({ drawn }) => drawn);
    const positive = all.filter((value) => value > 0);
    // Values that are not above 0 have no place on a logarithmic axis.
    return log && positive.length > 0 ? paddedAxis(positive, true) : paddedAxis(all, false);
  }, [lines, log]);
  const x = integerAxis(...findExtent(lines.flatMap(({ steps }) => steps)));
  const isDrawn = (value: number): boolean => !log || value > 0 || !lines.some(hasPositive);
  const point = (left: number, top: number, plane: PlotArea): void => {
    let nearest = Infinity;
    lines.forEach(({ steps, drawn }, line) => {
      steps.forEach((step, place) => {
        const away = Math.hypot(plane.x(step) - left, plane.y(drawn[place]) - top);
        if (away < nearest) {
          nearest = away;
          setAt([line, place]);
        }
      });
    });
  };
  const move = (direction: -1 | 1): void => {
    const [line, place] = at ?? [0, -1];
    setAt([line, clamp(place + direction, lines[line].steps.length)]);
  };
  const shown = at === null ? null : lines.at(at[0]);
  const place =
    shown === null || shown === undefined || at === null ? null : clamp(at[1], shown.steps.length);
  return (
    <Chart
      title={name}
      description={describeCurves(name, curves)}
      label={`${name} by step`}
      x={x}
      y={y}
      onPoint={point}
      onMove={move}
      onLeave={() => setAt(null)}
      marks={(plane) => (
        <>
          {lines.map(({ trial, steps, drawn }) => {
            const points = steps.flatMap((step, index) =>
              isDrawn(drawn[index])
                ? [`${plane.x(step).toFixed(1)} ${plane.y(drawn[index]).toFixed(1)}`]
                : [],
            );
            return points.length === 0 ? null : (
              <path
                key={trial}
                class={shown?.trial === trial ? "curve chosen-curve" : "curve"}
                stroke={paint(trial)}
                d={`M${points.join("L")}`}
              />
            );
          })}
          {shown && place !== null && isDrawn(shown.drawn[place]) && (
            <circle
              cx={plane.x(shown.steps[place])}
              cy={plane.y(shown.drawn[place])}
              r={4}
              fill={paint(shown.trial)}
            />
          )}
        </>
      )}
    >
      <output class="reading" aria-live="polite">
        {shown && place !== null && (
          <>
            trial {shown.trial}, step {shown.steps[place]}: <b>{short(shown.values[place])}</b>
          </>
        )}
      </output>
    </Chart>
  );
}

function hasPositive({ drawn }: { drawn: readonly number[] }): boolean {
  return drawn.some((value) => value > 0);
}

function clamp(place: number, length: number): number {
  return Math.max(0, Math.min(length - 1, place));
}

function short(value: number): string {
  return formatNumber(value, 3);
}

/** At most so many curves are described one by one. */
const MAX_DESCRIBED = 4;

function describeCurves(name: string, curves: readonly TrialCurve[]): string {
  const length = Math.max(...curves.map(({ steps }) => steps.length));
  const one = ({ trial, values }: TrialCurve): string =>
    `trial ${trial} from ${short(values[0])} to ${short(values[values.length - 1])}`;
  const parts = curves.slice(0, MAX_DESCRIBED).map(one);
  const more = curves.length > MAX_DESCRIBED ? [`and ${curves.length - MAX_DESCRIBED} more`] : [];
  return `${name} over ${length} steps: ${[...parts, ...more].join("; ")}`;
}
