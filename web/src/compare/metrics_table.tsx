import { type Run, simulationMetrics } from "../api/types";
import { formatNumber } from "../text/numbers";
import { LETTERS } from "./differences";

/** The metrics of runs side by side; of two, also the difference. */
export function MetricsTable({ runs }: { runs: readonly Run[] }) {
  const all: Record<string, unknown>[] = runs.map((run) => ({ ...simulationMetrics(run) }));
  const names = [...new Set(all.flatMap((metrics) => Object.keys(metrics)))];
  const rows = names.flatMap((name) =>
    flatten(
      name,
      all.map((metrics) => metrics[name]),
    ),
  );
  const isPair = runs.length === 2;
  return (
    <div class="table-frame" tabIndex={0} role="region" aria-label="Metrics">
      <table class="metrics">
        <caption class="hidden">{isPair ? "Metrics of both runs" : "Metrics of the runs"}</caption>
        <thead>
          <tr>
            <th scope="col">metric</th>
            {runs.map((_, index) => (
              <th key={index} scope="col" class="number">
                {LETTERS[index]}
              </th>
            ))}
            {isPair && (
              <th scope="col" class="number">
                B − A
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ name, values }) => (
            <tr key={name} class={new Set(values).size > 1 ? "differs" : ""}>
              <th scope="row">{name.replaceAll("_", " ")}</th>
              {values.map((value, index) => (
                <td key={index} class="number">
                  {formatMetric(value)}
                </td>
              ))}
              {isPair && <td class="number">{formatDifference(values[0], values[1])}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface MetricRow {
  name: string;
  /** A value for each run. */
  values: unknown[];
}

/** Return a row for each member of nested counts. */
function flatten(name: string, values: unknown[]): MetricRow[] {
  if (values.some(isGroup)) {
    const groups = values.map((value) => (isGroup(value) ? value : {}));
    const members = [...new Set(groups.flatMap((group) => Object.keys(group)))];
    return members.flatMap((member) =>
      flatten(
        `${name} · ${member}`,
        groups.map((group) => group[member]),
      ),
    );
  }
  return [{ name, values: values.map((value) => (Array.isArray(value) ? listOf(value) : value)) }];
}

function isGroup(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function listOf(value: unknown[]): string {
  return value.join(", ") || "none";
}

function formatMetric(value: unknown): string {
  if (typeof value === "number") {
    return formatNumber(value);
  }
  return typeof value === "string" || typeof value === "boolean" ? String(value) : "–";
}

function formatDifference(a: unknown, b: unknown): string {
  if (typeof a !== "number" || typeof b !== "number") {
    return "";
  }
  return a === b ? "·" : formatNumber(b - a);
}
