import { getModel } from "../api/models";
import type { Run } from "../api/types";
import { flattenFields } from "../text/config_values";
import { useLoad } from "./hooks";

/** The options of a run: first those that its request set, then the whole config. */
export function OptionsPanel({ run }: { run: Run }) {
  const model = useLoad(
    // The name may have another model by now, or none.
    (signal) => getModel(run.model.name, signal).catch(() => null),
    [run.model.name],
  );
  const own =
    model.value?.digest === run.model.digest ? flattenFields(model.value.config) : new Map();
  const config = flattenFields(run.config);
  const options = flattenFields(run.options);
  return (
    <section class="panel">
      <h2>Options</h2>
      {options.size === 0 ? (
        <p class="quiet">The request set none: all values are those of the model.</p>
      ) : (
        <div class="table-frame">
          <table class="metrics">
            <caption class="hidden">Options that the request set</caption>
            <thead>
              <tr>
                <th scope="col">option</th>
                <th scope="col">this run</th>
                <th scope="col">the model</th>
              </tr>
            </thead>
            <tbody>
              {[...options].map(([name, text]) => {
                const value = config.get(name) ?? text;
                const before = own.get(name) as string | undefined;
                return (
                  <tr key={name} class={value === before ? "" : "differs"}>
                    <th scope="row">{name}</th>
                    <td>{value}</td>
                    <td class="model-value">{before ?? "–"}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
      <details class="fold">
        <summary>All {config.size} fields of the config</summary>
        <table class="metrics">
          <caption class="hidden">Config of the run</caption>
          <tbody>
            {[...config].map(([name, value]) => (
              <tr key={name} class={options.has(name) ? "differs" : ""}>
                <th scope="row">{name}</th>
                <td>{value}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </section>
  );
}
