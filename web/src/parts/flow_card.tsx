import { useEffect, useReducer } from "preact/hooks";
import { PLANES, REASONS } from "../api/types";
import { type Journey, rowAt } from "../lattice/journey";
import type { Player } from "../lattice/player";
import { number } from "../text/numbers";

interface FlowCardProps {
  journey: Journey;
  player: Player;
  /** Index of the flow. */
  flow: number;
  onPick: (flow: number) => void;
}

/** The picked flow: where it comes from, where it is, how it ends. */
export function FlowCard({ journey, player, flow, onPick }: FlowCardProps) {
  const [, redraw] = useReducer<number, number>((_, step) => step, 0);
  // Only whole steps are news here.
  useEffect(() => player.listen(() => redraw(Math.floor(player.time))), [player]);
  const parent = journey.parent[flow];
  const children: number[] = [];
  journey.parent.forEach((candidate, index) => {
    if (candidate === flow) {
      children.push(index);
    }
  });
  const step = Math.min(Math.floor(player.time) - 1, journey.endStep[flow]);
  const row = step < journey.bornStep[flow] ? -1 : rowAt(journey, flow, step);
  const reason = journey.reason[flow];
  const plane = journey.plane[flow];
  const at = (axis: number) => number(journey.position[3 * row + axis], 3).replace("-", "−");
  return (
    <div class="flow-card">
      <p class="flow-card-head">
        <b>Flow {journey.flow[flow]}</b>
        <button type="button" onClick={() => onPick(-1)}>
          Let go
        </button>
      </p>
      <dl>
        <dt>parent</dt>
        <dd>
          {parent < 0 ? (
            "none: one of the first"
          ) : (
            <button type="button" class="link" onClick={() => onPick(parent)}>
              flow {journey.flow[parent]}
            </button>
          )}
        </dd>
        <dt>children</dt>
        <dd>
          {children.length === 0 && "none"}
          {children.slice(0, 8).map((child, index) => (
            <span key={child}>
              {index > 0 && ", "}
              <button type="button" class="link" onClick={() => onPick(child)}>
                {journey.flow[child]}
              </button>
            </span>
          ))}
          {children.length > 8 && ` and ${children.length - 8} more`}
        </dd>
        <dt>life</dt>
        <dd>
          {journey.bornStep[flow] < 0 ? "from the start" : `born in step ${journey.bornStep[flow]}`}
          {reason >= 0 && `, ended in step ${journey.endStep[flow]}`}
        </dd>
        <dt>end</dt>
        <dd>
          {reason < 0 ? "still active" : REASONS[reason]}
          {plane >= 0 && ` → ${PLANES[plane]}`}
        </dd>
        <dt>now</dt>
        <dd>
          {row < 0
            ? "not born yet"
            : `x ${at(0)}, y ${at(1)}, z ${at(2)}; energy ${number(journey.energy[row], 3)}`}
        </dd>
      </dl>
    </div>
  );
}
