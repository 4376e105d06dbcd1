import { useMemo } from "preact/hooks";
import type { Experiment, Trial } from "../api/types";
import { type Route, setParameters } from "../route";
import { listMeasures, isSweptByFactors } from "./measures";
import { fieldAxis } from "./scales";
import { ParallelCoordinates } from "./parallel_coordinates";
import { SweepPlot } from "./sweep_plot";

interface PlotPanelProps {
  experiment: Experiment;
  trials: readonly Trial[];
  route: Route;
}

/** Measures that are shown first, if a trial has them. */
const FIRST_MEASURES = ["held_out.cosine", "loss", "mean_path_steps", "completion_ratio"];

/** Choose a measure and a swept field, and plot them. */
export function PlotPanel({ experiment, trials, route }: PlotPanelProps) {
  const names = useMemo(() => listMeasures(trials), [trials]);
  const fields = [...experiment.fields, ...(experiment.fields.includes("seed") ? [] : ["seed"])];
  const chosen = (name: string, known: readonly string[]): string | null => {
    const value = route.parameters.get(name);
    return value !== null && known.includes(value) ? value : null;
  };
  const measure =
    chosen("measure", names) ?? FIRST_MEASURES.find((name) => names.includes(name)) ?? names[0];
  const field = chosen("field", fields) ?? fields[0];
  const others = fields.filter((name) => name !== field);
  // By default, colours stand for the second field of the sweep.
  const colour = route.parameters.has("colour")
    ? chosen("colour", others)
    : (experiment.fields.find((name) => name !== field) ?? null);
  const { positive } = fieldAxis(
    trials.map((trial) => (field in trial.parameters ? trial.parameters[field] : trial.seed)),
    false,
  );
  const log = route.parameters.has("log")
    ? route.parameters.get("log") === "yes"
    : isSweptByFactors(experiment.sweep, field);
  if (measure === undefined) {
    return <p class="quiet">No trial has succeeded yet. The plot needs at least one.</p>;
  }
  return (
    <>
      <div class="toolbar">
        <label>
          shows
          <select
            value={measure}
            onChange={(event) => setParameters({ measure: event.currentTarget.value })}
          >
            {names.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <label>
          against
          <select
            value={field}
            onChange={(event) => setParameters({ field: event.currentTarget.value, log: null })}
          >
            {fields.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <label>
          colour by
          <select
            value={colour ?? "nothing"}
            onChange={(event) => setParameters({ colour: event.currentTarget.value })}
          >
            <option value="nothing">nothing</option>
            {others.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <label>
          <input
            type="checkbox"
            checked={log && positive}
            disabled={!positive}
            onChange={(event) => setParameters({ log: event.currentTarget.checked ? "yes" : "no" })}
          />
          logarithmic axis
        </label>
      </div>
      <SweepPlot
        trials={trials}
        seeds={experiment.seeds.length}
        measure={measure}
        field={field}
        colour={colour}
        log={log}
      />
      <ParallelCoordinates experiment={experiment} trials={trials} measure={measure} />
    </>
  );
}
