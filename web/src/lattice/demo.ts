/** Invented flows in any number, to measure how fast the view draws them. */

import type { Replay } from "../api/types";
import { fold } from "./fold";
import type { ReplayColumns } from "./flow_paths";

/** Return a generator of uniform numbers in [0, 1) that depend on the seed alone (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Return flows that all move for `steps` steps and then end at the nearest plane. */
export function createDemoReplay(count: number, steps: number): ReplayColumns {
  const random = createRandom(1);
  const rows = count * (steps + 1);
  const path = Object.fromEntries(
    ["step", "flow", "x", "y", "z", "energy", "length", "age"].map((name) => [
      name,
      new Float32Array(rows),
    ]),
  ) as unknown as { [Column in keyof Replay["path"]]: Float32Array };
  const side = Math.ceil(Math.sqrt(count));
  for (let row = 0; row < rows; row++) {
    const flow = row % count;
    const step = Math.floor(row / count) - 1;
    path.step[row] = step;
    path.flow[row] = flow;
    path.age[row] = step + 1;
    if (step < 0) {
      path.x[row] = (2 * (flow % side)) / (side - 1) - 1;
      path.y[row] = (2 * Math.floor(flow / side)) / (side - 1) - 1;
      path.energy[row] = Math.sin(4 * path.x[row]) * Math.cos(3 * path.y[row]);
      continue;
    }
    const from = row - count;
    const rise = path.energy[from] > 0 ? 1 : -1;
    const dx = 0.24 * (random() - 0.5) - 0.12 * path.y[from];
    const dy = 0.24 * (random() - 0.5) + 0.12 * path.x[from];
    const z = path.z[from] + (rise * (0.6 + 0.6 * random())) / steps;
    path.x[row] = fold(path.x[from] + dx);
    path.y[row] = fold(path.y[from] + dy);
    path.z[row] = Math.max(-1, Math.min(1, z));
    path.energy[row] = 0.98 * path.energy[from] + 0.02 * (random() - 0.5);
    path.length[row] = Math.hypot(dx, dy, path.z[row] - path.z[from]);
  }
  const flow = Int32Array.from({ length: count }, (_, index) => index);
  const start = rows - count;
  return {
    flows: {
      flow,
      parent: new Int32Array(count).fill(-1),
      generation: new Int32Array(count),
      reason: new Int8Array(count).fill(3),
      plane: Int8Array.from(flow, (index) => (path.z[start + index] > 0 ? 1 : 0)),
    },
    path,
  };
}
