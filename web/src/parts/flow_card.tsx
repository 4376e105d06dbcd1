import { useEffect, useReducer } from "preact/hooks";
import { PLANES, REASONS } from "../generated/choices";
import { type FlowPaths, findRow } from "../lattice/flow_paths";
import type { Player } from "../lattice/player";
import { formatNumber } from "../text/numbers";

interface FlowCardProps {
  paths: FlowPaths;
  player: Player;
  /** Index of the flow. */
  flow: number;
  onSelect: (flow: number) => void;
  /** Whether flows can have children. */
  hasChildren: boolean;
}

/** The selected flow: its parent, its children, its position and its end. */
export function FlowCard({ paths, player, flow, onSelect, hasChildren }: FlowCardProps) {
  const [, redraw] = useReducer<number, number>((_, step) => step, 0);
  // The card changes with whole steps alone.
  useEffect(() => player.subscribe(() => redraw(Math.floor(player.time))), [player]);
  const parent = paths.parent[flow];
  const children: number[] = [];
  paths.parent.forEach((candidate, index) => {
    if (candidate === flow) {
      children.push(index);
    }
  });
  const step = Math.min(Math.floor(player.time) - 1, paths.endStep[flow]);
  const row = step < paths.bornStep[flow] ? -1 : findRow(paths, flow, step);
  const reason = paths.reason[flow];
  const plane = paths.plane[flow];
  const at = (axis: number) => formatNumber(paths.position[3 * row + axis], 3);
  return (
    <div class="flow-card">
      <p class="flow-card-head">
        <b>Flow {paths.flow[flow]}</b>
        <button type="button" onClick={() => onSelect(-1)}>
          Deselect
        </button>
      </p>
      <dl>
        {hasChildren && (
          <>
            <dt>parent</dt>
            <dd>
              {parent < 0 ? (
                "none: an initial flow"
              ) : (
                <button type="button" class="link" onClick={() => onSelect(parent)}>
                  flow {paths.flow[parent]}
                </button>
              )}
            </dd>
            <dt>children</dt>
            <dd>
              {children.length === 0 && "none"}
              {children.slice(0, 8).map((child, index) => (
                <span key={child}>
                  {index > 0 && ", "}
                  <button type="button" class="link" onClick={() => onSelect(child)}>
                    {paths.flow[child]}
                  </button>
                </span>
              ))}
              {children.length > 8 && ` and ${children.length - 8} more`}
            </dd>
          </>
        )}
        <dt>steps</dt>
        <dd>
          {paths.bornStep[flow] < 0 ? "from the start" : `spawned in step ${paths.bornStep[flow]}`}
          {reason >= 0 && `, ended in step ${paths.endStep[flow]}`}
        </dd>
        <dt>end</dt>
        <dd>
          {reason < 0 ? "still active" : REASONS[reason]}
          {plane >= 0 && ` → ${PLANES[plane]}`}
        </dd>
        <dt>now</dt>
        <dd>
          {row < 0
            ? "not spawned yet"
            : `x ${at(0)}, y ${at(1)}, z ${at(2)}; energy ${formatNumber(paths.energy[row], 3)}`}
        </dd>
      </dl>
    </div>
  );
}
