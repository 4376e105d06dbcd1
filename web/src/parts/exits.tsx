import type { Metrics } from "../api/types";
import { PLANES, REASONS, type Reason } from "../generated/choices";
import { formatCount, formatPercent } from "../text/numbers";

type Counts = Partial<Record<Reason, number>>;

/** Where flows ended and why, as bars. */
export function Exits({ metrics }: { metrics: Metrics }) {
  const rows: { name: string; reasons: Counts }[] = PLANES.map((plane) => ({
    name: plane,
    reasons: metrics.exits[plane],
  }));
  if (metrics.stalled) {
    rows.push({ name: "no plane", reasons: { stalled: metrics.stalled } });
  }
  const total = (reasons: Counts) => Object.values(reasons).reduce((sum, value) => sum + value, 0);
  const ended = Math.max(1, metrics.completed + metrics.stalled);
  const widest = Math.max(1, ...rows.map((row) => total(row.reasons)));
  const present = REASONS.filter((reason) => rows.some((row) => row.reasons[reason]));
  return (
    <div class="exits">
      {rows.map(({ name, reasons }) => (
        <div key={name} class="exits-row">
          <span class="exits-name">{name}</span>
          <span class="exits-bar" aria-hidden="true">
            {present.map((reason) => (
              <span
                key={reason}
                class={`reason-${reason}`}
                style={{ width: `${(100 * (reasons[reason] ?? 0)) / widest}%` }}
              />
            ))}
          </span>
          <span class="exits-total">
            {formatCount(total(reasons))}{" "}
            <span class="quiet">{formatPercent(total(reasons) / ended)}</span>
          </span>
        </div>
      ))}
      <table class="exits-table">
        <caption class="hidden">Ended flows by plane and reason</caption>
        <thead>
          <tr>
            <th scope="col">exit plane</th>
            {present.map((reason) => (
              <th key={reason} scope="col" class="number">
                <span class={`legend-mark reason-${reason}`} aria-hidden="true" />
                {reason.replaceAll("_", " ")}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ name, reasons }) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              {present.map((reason) => (
                <td key={reason} class="number">
                  {formatCount(reasons[reason] ?? 0)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
