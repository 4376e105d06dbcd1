import type { Run } from "../api/types";
import { flattenFields } from "../text/config_values";
import { formatCounted } from "../text/numbers";

/** At most this many runs are compared. */
export const MAX_COMPARED = 10;

/** A letter for each run, in the order of the page. */
export const LETTERS = "ABCDEFGHIJ";

interface Row {
  name: string;
  /** A text for each run. */
  values: string[];
}

/** What differs between runs before their results: model, data, options, versions. */
export function DifferencesTable({ runs }: { runs: readonly Run[] }) {
  const rows = listRows(runs);
  const differing = rows.filter(({ values }) => new Set(values).size > 1);
  const equal = rows.filter(({ values }) => new Set(values).size === 1);
  return (
    <>
      {differing.length === 0 ? (
        <p>
          Nothing: the runs have the same model, options and versions, and the same name of their
          data.
        </p>
      ) : (
        <RowsTable runs={runs} rows={differing} caption="What differs between the runs" />
      )}
      <details class="fold">
        <summary>What is equal: {formatCounted(equal.length, "field")}</summary>
        <table class="metrics">
          <caption class="hidden">What is equal in all runs</caption>
          <tbody>
            {equal.map(({ name, values }) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{values[0]}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </>
  );
}

function RowsTable({
  runs,
  rows,
  caption,
}: {
  runs: readonly Run[];
  rows: Row[];
  caption: string;
}) {
  return (
    <div class="table-frame" tabIndex={0} role="region" aria-label={caption}>
      <table class="metrics">
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            <td />
            {runs.map((_, index) => (
              <th key={index} scope="col">
                {LETTERS[index]}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ name, values }) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              {values.map((text, index) => (
                <td key={index}>{text}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Return a row for each fact of the runs, and for each field of their configs. */
export function listRows(runs: readonly Run[]): Row[] {
  const facts: [string, (run: Run) => string][] = [
    ["model", ({ model }) => model.name],
    ["weights", ({ model }) => model.digest.slice(0, 12)],
    ["data", describeData],
    ["samples", ({ progress }) => String(progress.samples)],
    ["version", ({ version }) => version ?? "not known"],
    ["arithmetic", ({ arithmetic }) => String(arithmetic)],
    ["state", ({ state }) => state],
    ["outputs", ({ outputs }) => outputs.join(", ") || "none"],
    ["seed", ({ seed }) => String(seed)],
  ];
  const configs = runs.map(({ config }) => flattenFields(config));
  const names = new Set(configs.flatMap((config) => [...config.keys()]));
  // The config has the seed of the model; that of the run is a fact of its own.
  names.delete("seed");
  return [
    ...facts.map(([name, read]) => ({ name, values: runs.map(read) })),
    ...[...names].map((name) => ({
      name,
      values: configs.map((config) => config.get(name) ?? "–"),
    })),
  ];
}

function describeData({ dataset }: Run): string {
  return dataset === null
    ? "rows of the request"
    : `${dataset.name} (${dataset.digest.slice(0, 12)}), rows ${dataset.rows.join(":")}`;
}
