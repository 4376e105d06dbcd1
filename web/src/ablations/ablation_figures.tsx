import { useState } from "preact/hooks";
import type { AblationEntry, AblationResult } from "../api/types";
import { ABLATIONS, PLANES, VALIDATION_METRICS, type ValidationMetric } from "../generated/choices";
import { formatCount, formatFixed, formatPercent } from "../text/numbers";
import { ChangeChart } from "./change_chart";
import {
  explainChanges,
  formatFigure,
  formatInterval,
  leastChange,
  listChanges,
  METRIC_LABELS,
} from "./metrics";

/** The result of an ablation: one figure of all variants, and what flows did in each. */
export function AblationFigures({ result }: { result: AblationResult }) {
  const [metric, setMetric] = useState<ValidationMetric>("cosine");
  const name = METRIC_LABELS[metric];
  const changes = listChanges(result, metric);
  return (
    <>
      <div class="tabs" role="radiogroup" aria-label="Figure">
        {VALIDATION_METRICS.map((each) => (
          <label key={each} class="tab">
            <input
              type="radio"
              name="ablation-metric"
              checked={each === metric}
              onChange={() => setMetric(each)}
            />
            <span>{METRIC_LABELS[each]}</span>
          </label>
        ))}
      </div>
      <p aria-live="polite">{explainChanges(changes, name)}</p>
      <ChangeChart changes={changes} name={name} least={leastChange(result, metric)} />
      <div class="table-frame">
        <table>
          <caption class="hidden">{name} with parts of the flows switched off</caption>
          <thead>
            <tr>
              <th scope="col">variant</th>
              <th scope="col" class="number">
                {name} [95 %]
              </th>
              <th scope="col" class="number">
                change [95 %]
              </th>
              <th scope="col" class="number">
                steps
              </th>
              {PLANES.map((plane) => (
                <th key={plane} scope="col" class="number">
                  at {plane}
                </th>
              ))}
              <th scope="col" class="number">
                children
              </th>
            </tr>
          </thead>
          <tbody>
            {result.entries.map((entry) => (
              <Row key={entry.label} entry={entry} metric={metric} />
            ))}
          </tbody>
        </table>
      </div>
      <p class="quiet">
        Change: the figure minus that of the model as it is. The intervals are over the{" "}
        {formatCount(result.rows)} rows, from {formatCount(result.resamples)} resamples. Steps,
        planes and children are means over flows; children are for each initial flow.
      </p>
    </>
  );
}

function Row({ entry, metric }: { entry: AblationEntry; metric: ValidationMetric }) {
  const { ablation, label, flows, not_applicable } = entry;
  const head = (
    <th scope="row" title={ablation === null ? undefined : ABLATIONS[ablation].description}>
      {label}
    </th>
  );
  if (flows === null) {
    return (
      <tr>
        {head}
        <td class="quiet" colSpan={4 + PLANES.length}>
          {not_applicable}
        </td>
      </tr>
    );
  }
  const change = entry.changes[metric];
  return (
    <tr>
      {head}
      <td class="number">{formatFigure(entry, metric)}</td>
      <td class="number">
        {ablation === null || change === undefined ? "" : formatInterval(change, true)}
      </td>
      <td class="number">{formatFixed(flows.mean_path_steps, 2)}</td>
      {PLANES.map((plane) => (
        <td key={plane} class="number">
          {formatPercent(flows.planes[plane])}
        </td>
      ))}
      <td class="number">{formatFixed(flows.spawned, 2)}</td>
    </tr>
  );
}
