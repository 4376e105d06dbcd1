import { type Metrics, PLANES, REASONS, type Reason } from "../api/types";
import { count, percent } from "../text/numbers";

const NAMES: Record<Reason, string> = {
  plane: "reached",
  projected: "projected",
  converged: "converged",
  max_steps: "max steps",
  stalled: "stalled",
};

/** Where flows ended and why, as bars. */
export function Exits({ metrics }: { metrics: Metrics }) {
  const { exits } = metrics;
  const rows = exits
    ? [
        ...PLANES.map((plane) => ({ name: plane, reasons: exits[plane] })),
        ...(metrics.stalled ? [{ name: "nowhere", reasons: { stalled: metrics.stalled } }] : []),
      ]
    : [{ name: "all", reasons: metrics.terminated as Partial<Record<Reason, number>> }];
  const total = (reasons: Partial<Record<Reason, number>>) =>
    Object.values(reasons).reduce((sum, value) => sum + value, 0);
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
            {count(total(reasons))} <span class="quiet">{percent(total(reasons) / ended)}</span>
          </span>
        </div>
      ))}
      <table class="exits-table">
        <caption class="hidden">Ended flows by plane and reason</caption>
        <thead>
          <tr>
            <th scope="col">plane</th>
            {present.map((reason) => (
              <th key={reason} scope="col" class="number">
                <span class={`legend-mark reason-${reason}`} aria-hidden="true" />
                {NAMES[reason]}
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
                  {count(reasons[reason] ?? 0)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
