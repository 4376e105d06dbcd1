import { useMemo, useState } from "preact/hooks";
import type { Experiment, Trial } from "../api/types";
import { type Axis, labelTicks } from "../parts/axis";
import { useMedia, useSize } from "../parts/hooks";
import { formatNumber } from "../text/numbers";
import { formatValue, getMeasures, isSweptByFactors } from "./measures";
import { fieldAxis, fieldColours } from "./scales";

interface ParallelCoordinatesProps {
  experiment: Experiment;
  trials: readonly Trial[];
  /** The measure of the last axis, for which colours stand. */
  measure: string;
}

const HEIGHT = 260;
const MARGIN = { top: 34, bottom: 14, left: 64, right: 64 };
/** A line with fewer axes is the plot above. */
const MIN_AXES = 3;
/** More lines cannot be told apart, and take long to draw. */
const MAX_LINES = 1000;

interface FieldLine {
  trial: number;
  /** The value on each axis. */
  values: unknown[];
}

/** Trials as lines through an axis for each swept field and one for a measure. */
export function ParallelCoordinates({ experiment, trials, measure }: ParallelCoordinatesProps) {
  const [attach, size] = useSize();
  const [at, setAt] = useState<number | null>(null);
  const dark = useMedia("(prefers-color-scheme: dark)");
  const { fields, sweep } = experiment;
  const lines = useMemo(
    () =>
      trials.flatMap<FieldLine>((trial) => {
        const value = trial.state === "succeeded" ? getMeasures(trial)[measure] : undefined;
        const swept = fields.map((field) => trial.parameters[field] ?? null);
        return value === undefined ? [] : [{ trial: trial.trial, values: [...swept, value] }];
      }),
    [trials, fields, measure],
  );
  if (fields.length + 1 < MIN_AXES || lines.length === 0) {
    return null;
  }
  const drawn = lines.slice(0, MAX_LINES);
  const names = [...fields, measure];
  const axes = names.map((name, place) =>
    fieldAxis(
      drawn.map(({ values }) => values[place]),
      place < fields.length && isSweptByFactors(sweep, name),
    ),
  );
  const colours = fieldColours(
    drawn.map(({ values }) => values[fields.length]),
    dark,
  );
  const width = Math.max(size.width, 200);
  const x = (place: number): number =>
    MARGIN.left + (place * (width - MARGIN.left - MARGIN.right)) / (names.length - 1);
  const y = (axis: Axis, value: number): number =>
    HEIGHT - MARGIN.bottom - axis.fractionOf(value) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const heightsOf = ({ values }: FieldLine): number[] =>
    values.map((value, place) => y(axes[place].axis, axes[place].value(value)));
  const press = (event: KeyboardEvent): void => {
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (direction !== undefined) {
      event.preventDefault();
      setAt(Math.max(0, Math.min(drawn.length - 1, (at ?? -1) + direction)));
    }
  };
  const point = (event: PointerEvent): void => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    const section = (left - x(0)) / (x(1) - x(0));
    const place = Math.max(0, Math.min(names.length - 2, Math.floor(section)));
    const away = drawn.map((line) => {
      const heights = heightsOf(line);
      const share = Math.max(0, Math.min(1, section - place));
      return Math.abs(heights[place] + share * (heights[place + 1] - heights[place]) - top);
    });
    setAt(away.reduce((best, each, index) => (each < away[best] ? index : best), 0));
  };
  const chosen = at === null ? null : drawn[Math.min(at, drawn.length - 1)];
  return (
    <figure class="chart">
      <figcaption>Trials by {names.join(", ")}</figcaption>
      <div
        ref={attach}
        class="chart-frame"
        style={{ minHeight: `${HEIGHT}px` }}
        role="group"
        aria-label="Trials as lines"
        tabIndex={0}
        onKeyDown={press}
        onBlur={() => setAt(null)}
      >
        <svg
          width={width}
          height={HEIGHT}
          role="img"
          aria-label={`${drawn.length} trials as lines through ${names.join(", ")}`}
          onPointerMove={point}
          onPointerLeave={() => setAt(null)}
        >
          {drawn.map((line) => (
            <path
              key={line.trial}
              class={line === chosen ? "curve chosen-curve" : "curve"}
              stroke={colours.of(line.values[fields.length])}
              d={`M${heightsOf(line)
                .map((top, place) => `${x(place).toFixed(1)} ${top.toFixed(1)}`)
                .join("L")}`}
            />
          ))}
          {axes.map(({ axis }, place) => (
            <g key={names[place]} class="chart-grid parallel-axis">
              <line x1={x(place)} x2={x(place)} y1={MARGIN.top} y2={HEIGHT - MARGIN.bottom} />
              <text
                x={x(place)}
                y={14}
                text-anchor={place === 0 ? "start" : place === names.length - 1 ? "end" : "middle"}
                dx={
                  place === 0 ? -MARGIN.left + 4 : place === names.length - 1 ? MARGIN.right - 4 : 0
                }
              >
                {names[place]}
              </text>
              {labelTicks(axis, 5).map(([value, text]) => (
                <text key={value} x={x(place) - 6} y={y(axis, value)} dy="0.32em" text-anchor="end">
                  {text}
                </text>
              ))}
            </g>
          ))}
        </svg>
      </div>
      <output class="reading" aria-live="polite">
        {chosen === null ? (
          <span class="quiet">
            Point at a line, or use ← →.
            {lines.length > drawn.length && ` The first ${MAX_LINES} trials are shown.`}
          </span>
        ) : (
          <>
            trial {chosen.trial}:{" "}
            {names.map((name, place) => `${name} ${describe(chosen.values[place])}`).join(", ")}
          </>
        )}
      </output>
    </figure>
  );
}

function describe(value: unknown): string {
  return typeof value === "number" ? formatNumber(value, 4) : formatValue(value);
}
