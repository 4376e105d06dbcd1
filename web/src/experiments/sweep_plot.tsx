import { useMemo, useState } from "preact/hooks";
import type { Trial } from "../api/types";
import { paddedAxis } from "../parts/axis";
import { Chart, type PlotArea } from "../parts/chart";
import { ColourBar } from "../parts/colour_bar";
import { useMedia } from "../parts/hooks";
import { formatNumber } from "../text/numbers";
import { formatValue, type SweepPoint, groupBySweepPoint } from "./measures";
import { fieldAxis, fieldColours } from "./scales";

interface SweepPlotProps {
  trials: readonly Trial[];
  /** Number of seeds of each sweep point. */
  seeds: number;
  measure: string;
  /** The field along the axis; may be `seed`. */
  field: string;
  /** The field that colours stand for; null for none. */
  colour: string | null;
  log: boolean;
}

const HEIGHT = 320;
const CAP = 4;

/** A measure against a swept field: all trials, and mean and deviation of each sweep point. */
export function SweepPlot({ trials, seeds, measure, field, colour, log }: SweepPlotProps) {
  const [at, setAt] = useState<number | null>(null);
  const dark = useMedia("(prefers-color-scheme: dark)");
  const points = useMemo(
    () =>
      field === "seed" || colour === "seed"
        ? // Each seed is a point of its own.
          sorted(groupBySweepPoint(trials.map(withSeed), measure, 1), field)
        : sorted(groupBySweepPoint(trials, measure, seeds), field),
    [trials, seeds, measure, field, colour],
  );
  if (points.length === 0) {
    return <p class="quiet">No succeeded trial has this measure.</p>;
  }
  const x = fieldAxis(
    points.map((point) => point.parameters[field]),
    log,
  );
  const y = paddedAxis(points.flatMap(reach), false);
  const colours =
    colour === null
      ? null
      : fieldColours(
          points.map((point) => point.parameters[colour] ?? null),
          dark,
        );
  const paint = ({ parameters }: SweepPoint): string =>
    colours && colour !== null ? colours.of(parameters[colour]) : "var(--series-0)";
  const several = points.some((point) => point.trials.length > 1);
  const lines = x.numeric ? linesOf(points, field) : [];
  const index = at === null ? null : Math.min(at, points.length - 1);

  const point = (left: number, top: number, plane: PlotArea): void => {
    let nearest = Infinity;
    points.forEach(({ parameters, mean }, candidate) => {
      const across = plane.x(x.value(parameters[field])) - left;
      const away = Math.hypot(across, plane.y(mean) - top);
      if (away < nearest) {
        nearest = away;
        setAt(candidate);
      }
    });
  };
  return (
    <Chart
      title={`${measure} by ${field}`}
      description={`${measure} by ${field}: ${describePoints(points, field)}`}
      label={`Sweep points of ${measure}`}
      x={x.axis}
      y={y}
      xName={field}
      height={HEIGHT}
      onPoint={point}
      onMove={(direction) =>
        setAt(Math.max(0, Math.min(points.length - 1, (index ?? -1) + direction)))
      }
      onLeave={() => setAt(null)}
      marks={(plane) => {
        const left = (point: SweepPoint) => plane.x(x.value(point.parameters[field]));
        return (
          <>
            {lines.map((line) => (
              <path
                key={line[0].point}
                class="plot-line"
                stroke={paint(line[0])}
                d={`M${line.map((stop) => `${left(stop).toFixed(1)} ${plane.y(stop.mean).toFixed(1)}`).join("L")}`}
              />
            ))}
            {points.map((point, place) => (
              <g
                key={point.point}
                class={place === index ? "plot-point chosen-point" : "plot-point"}
                fill={paint(point)}
                stroke={paint(point)}
              >
                {point.deviation !== null && (
                  <path class="plot-deviation" d={bar(point, left(point), plane)} />
                )}
                {point.trials.map(({ trial, value }) => (
                  <circle
                    key={trial}
                    class={several ? "plot-trial plot-trial-faint" : "plot-trial"}
                    cx={left(point)}
                    cy={plane.y(value)}
                    r={3}
                  />
                ))}
                {several && (
                  <rect
                    class="plot-mean"
                    x={left(point) - 4.5}
                    y={plane.y(point.mean) - 4.5}
                    width={9}
                    height={9}
                  />
                )}
              </g>
            ))}
          </>
        );
      }}
    >
      <div class="legend plot-legend">
        {several && (
          <>
            <span class="legend-item">
              <span class="legend-mark legend-mean" aria-hidden="true" />
              mean and deviation over seeds
            </span>
            <span class="legend-item">
              <span class="legend-mark legend-trial" aria-hidden="true" />
              one trial
            </span>
          </>
        )}
        {colours?.named?.map((value) => (
          <span key={formatValue(value)} class="legend-item">
            <span
              class="legend-mark"
              aria-hidden="true"
              style={{ background: colours.of(value) }}
            />
            {colour} {formatValue(value)}
          </span>
        ))}
      </div>
      {colours !== null && colours.named === null && colour !== null && (
        <ColourBar
          parts={6}
          scale={colours.scale}
          low={colours.low}
          high={colours.high}
          label={colour}
        />
      )}
      <output class="reading" aria-live="polite">
        {index === null ? (
          <span class="quiet">Point at a mark, or use ← →.</span>
        ) : (
          <Reading point={points[index]} measure={measure} />
        )}
      </output>
    </Chart>
  );
}

function Reading({ point, measure }: { point: SweepPoint; measure: string }) {
  const at = Object.entries(point.parameters)
    .map(([name, value]) => `${name} ${formatValue(value)}`)
    .join(", ");
  const trials = point.trials.map(({ trial }) => trial);
  return (
    <>
      {at && `${at}: `}
      {measure} <b>{formatNumber(point.mean)}</b>
      {point.deviation !== null && ` ± ${formatNumber(point.deviation, 3)}`}{" "}
      <span class="quiet">
        ({trials.length === 1 ? "trial" : "trials"} {trials.join(", ")})
      </span>
    </>
  );
}

function withSeed(trial: Trial): Trial {
  return { ...trial, parameters: { ...trial.parameters, seed: trial.seed } };
}

/** Sort points in the order of the arrow keys. */
function sorted(points: SweepPoint[], field: string): SweepPoint[] {
  const at = ({ parameters }: SweepPoint): unknown => parameters[field] ?? null;
  const numeric = points.every((point) => typeof at(point) === "number");
  return numeric ? points.sort((a, b) => (at(a) as number) - (at(b) as number)) : points;
}

/** Return groups of two or more points that differ in the field alone. */
function linesOf(points: readonly SweepPoint[], field: string): SweepPoint[][] {
  const lines = new Map<string, SweepPoint[]>();
  for (const point of points) {
    const rest = JSON.stringify({ ...point.parameters, [field]: null });
    lines.set(rest, [...(lines.get(rest) ?? []), point]);
  }
  return [...lines.values()].filter((line) => line.length > 1);
}

/** Return all values that are drawn of a point. */
function reach({ trials, mean, deviation }: SweepPoint): number[] {
  const values = trials.map(({ value }) => value);
  return deviation === null ? values : [...values, mean - deviation, mean + deviation];
}

function bar({ mean, deviation }: SweepPoint, x: number, plane: PlotArea): string {
  const [low, high] = [mean - (deviation ?? 0), mean + (deviation ?? 0)].map(plane.y);
  const cap = (y: number) => `M${x - CAP} ${y}H${x + CAP}`;
  return `M${x} ${low}V${high}${cap(low)}${cap(high)}`;
}

function describePoints(points: readonly SweepPoint[], field: string): string {
  const lowest = points.reduce((best, point) => (point.mean < best.mean ? point : best));
  const highest = points.reduce((best, point) => (point.mean > best.mean ? point : best));
  const describe = (point: SweepPoint) =>
    `${formatNumber(point.mean)} at ${formatValue(point.parameters[field])}`;
  const count = points.length === 1 ? "1 sweep point" : `${points.length} sweep points`;
  return `${count}, least ${describe(lowest)}, most ${describe(highest)}`;
}
