import { useEffect, useReducer } from "preact/hooks";
import { type Player, SPEEDS } from "../lattice/player";
import { formatCounted } from "../text/numbers";

/** The controls of the player: play, pause, step, time and speed. */
export function Timeline({ player }: { player: Player }) {
  const [, redraw] = useReducer<number, undefined>((count) => count + 1, 0);
  useEffect(() => player.subscribe(() => redraw(undefined)), [player]);
  const done = Math.floor(player.time);
  const text =
    done === 0
      ? "start"
      : `after step ${done - 1}, ${done} of ${formatCounted(player.steps, "step")}`;
  return (
    <div class="timeline" role="group" aria-label="Time">
      <button type="button" class="play button-main" onClick={() => player.toggle()}>
        {player.playing ? "Pause" : "Play"}
      </button>
      <button
        type="button"
        aria-label="One step back"
        disabled={player.time <= 0}
        onClick={() => player.step(-1)}
      >
        ‹
      </button>
      <input
        type="range"
        aria-label="Step"
        aria-valuetext={text}
        min={0}
        max={player.steps}
        step={0.01}
        value={player.time}
        onInput={(event) => {
          player.playing = false;
          player.seek(event.currentTarget.valueAsNumber);
        }}
        onKeyDown={(event) => {
          const direction = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
          if (direction) {
            event.preventDefault();
            player.step(direction as 1 | -1);
          }
        }}
      />
      <button
        type="button"
        aria-label="One step forward"
        disabled={player.time >= player.steps}
        onClick={() => player.step(1)}
      >
        ›
      </button>
      <output class="timeline-text">{text}</output>
      <label>
        speed
        <select
          value={player.speed}
          onChange={(event) => player.setSpeed(Number(event.currentTarget.value))}
        >
          {SPEEDS.map((speed) => (
            <option key={speed} value={speed}>
              {speed} ×
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}
