import { useMemo } from "preact/hooks";
import type { Experiment, Trial } from "../api/experiment_types";
import { type Route, setValues } from "../route";
import { measureNames, sweptByFactors } from "./measures";
import { fieldAxis } from "./scales";
import { SweepPlot } from "./sweep_plot";

interface PlotPanelProps {
  experiment: Experiment;
  trials: readonly Trial[];
  route: Route;
}

/** What is looked at first, where it was measured. */
const FIRST_MEASURES = ["held_out.cosine", "loss", "mean_path_steps", "completion_ratio"];

/** Chooses what is plotted against what. */
export function PlotPanel({ experiment, trials, route }: PlotPanelProps) {
  const names = useMemo(() => measureNames(trials), [trials]);
  const fields = [...experiment.fields, ...(experiment.fields.includes("seed") ? [] : ["seed"])];
  const chosen = (name: string, known: readonly string[]): string | null => {
    const value = route.values.get(name);
    return value !== null && known.includes(value) ? value : null;
  };
  const measure =
    chosen("measure", names) ?? FIRST_MEASURES.find((name) => names.includes(name)) ?? names[0];
  const field = chosen("field", fields) ?? fields[0];
  const others = fields.filter((name) => name !== field);
  // Without a word from anybody, colours tell the second field of the sweep.
  const colour = route.values.has("colour")
    ? chosen("colour", others)
    : (experiment.fields.find((name) => name !== field) ?? null);
  const { positive } = fieldAxis(
    trials.map((trial) => (field in trial.parameters ? trial.parameters[field] : trial.seed)),
    false,
  );
  const log = route.values.has("log")
    ? route.values.get("log") === "yes"
    : sweptByFactors(experiment.sweep, field);
  if (measure === undefined) {
    return <p class="quiet">There is something to plot once a trial has succeeded.</p>;
  }
  return (
    <>
      <div class="toolbar">
        <label>
          shows
          <select
            value={measure}
            onChange={(event) => setValues({ measure: event.currentTarget.value })}
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
            onChange={(event) => setValues({ field: event.currentTarget.value, log: null })}
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
            onChange={(event) => setValues({ colour: event.currentTarget.value })}
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
            onChange={(event) => setValues({ log: event.currentTarget.checked ? "yes" : "no" })}
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
    </>
  );
}
