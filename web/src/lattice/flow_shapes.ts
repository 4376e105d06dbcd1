/** The flows of a journey as shapes of a scene: dots that move, dots that have arrived, and lines. */

import {
  BufferAttribute,
  BufferGeometry,
  DataTexture,
  DynamicDrawUsage,
  LineSegments,
  Points,
  RGBAFormat,
  ShaderMaterial,
  type Texture,
  Vector3,
} from "three";
import { viridis } from "../colour";
import type { Journey } from "./journey";
import { HIDDEN, LIT, NORMAL } from "./lineage";
import { endedBefore, endOf, place } from "./places";
import { POINT_FRAGMENT, POINT_VERTEX, TRAIL_FRAGMENT, TRAIL_VERTEX } from "./shaders";

const TRAIL_STEPS = 3;

export class FlowShapes {
  /** For the scene. */
  readonly objects: readonly (Points | LineSegments)[];

  readonly #scale = scaleTexture();
  readonly #pointUniforms = { fraction: { value: 0 } };
  readonly #moving: Points<BufferGeometry, ShaderMaterial>;
  readonly #arrived: Points<BufferGeometry, ShaderMaterial>;
  readonly #trails: LineSegments<BufferGeometry, ShaderMaterial>;
  readonly #way: LineSegments<BufferGeometry, ShaderMaterial>;

  #journey: Journey | null = null;
  #values: Float32Array = new Float32Array(0);
  #standing: Uint8Array = new Uint8Array(0);
  #step = -1;
  #time = 0;
  #movingRows = new Int32Array(0);
  #movingCount = 0;

  constructor() {
    this.#moving = new Points(new BufferGeometry(), this.#pointMaterial(1));
    this.#arrived = new Points(new BufferGeometry(), this.#pointMaterial(0.55));
    this.#trails = new LineSegments(new BufferGeometry(), this.#trailMaterial(0.5, TRAIL_STEPS));
    this.#way = new LineSegments(new BufferGeometry(), this.#trailMaterial(1, 1e6));
    this.objects = [this.#trails, this.#arrived, this.#moving, this.#way];
    for (const object of this.objects) {
      // Everything lies in the box, which is always in view.
      object.frustumCulled = false;
      object.visible = false;
    }
  }

  setJourney(journey: Journey): void {
    this.#journey = journey;
    this.#step = -1;
    const flows = journey.flow.length;
    let most = 0;
    for (let step = 0; step < journey.steps; step++) {
      most = Math.max(most, journey.stepStart[step + 2] - journey.stepStart[step + 1]);
    }
    this.#movingRows = new Int32Array(most);
    reshape(this.#moving, most, true);
    reshape(this.#arrived, flows, false);
    const ends = this.#arrived.geometry.getAttribute("position").array as Float32Array;
    journey.endOrder.forEach((flow, index) => {
      endOf(journey, flow).toArray(ends, 3 * index);
    });
    (this.#arrived.geometry.getAttribute("aim").array as Float32Array).set(ends);
    const trails = journey.trails;
    if (trails) {
      const geometry = this.#trails.geometry;
      geometry.setAttribute("position", new BufferAttribute(trails.position, 3));
      geometry.setAttribute("time", new BufferAttribute(trails.time, 1));
      geometry.setAttribute("value", bytes(2 * trails.row.length));
      geometry.setAttribute("standing", bytes(2 * trails.row.length));
    }
    this.#trails.visible = trails !== null;
    this.#moving.visible = true;
    this.setValues(new Float32Array(journey.rowFlow.length));
    this.setStanding(new Uint8Array(flows).fill(NORMAL));
    this.setTime(0);
  }

  /** Colours: for each row a place on the scale, 0 to 1. */
  setValues(values: Float32Array): void {
    const journey = this.#journey;
    if (!journey) {
      return;
    }
    this.#values = values;
    const ends = attribute(this.#arrived, "value");
    journey.endOrder.forEach((flow, index) => {
      ends.array[index] = 255 * values[journey.lastRow[flow]];
    });
    ends.needsUpdate = true;
    this.#dyeTrails();
    this.#fill();
  }

  /** How each flow is shown; see `lineage.ts`. */
  setStanding(standing: Uint8Array): void {
    const journey = this.#journey;
    if (!journey) {
      return;
    }
    this.#standing = standing;
    const ends = attribute(this.#arrived, "standing");
    journey.endOrder.forEach((flow, index) => {
      ends.array[index] = 85 * standing[flow];
    });
    ends.needsUpdate = true;
    // Solid dots hide those behind them; faint ones must not.
    const solid = standing.every((value) => value === NORMAL || value === HIDDEN);
    this.#moving.material.depthWrite = solid;
    this.#layWay();
    this.#dyeTrails();
    this.#fill();
  }

  setArrivedShown(shown: boolean): void {
    this.#arrived.visible = shown;
  }

  /** Moves to a place in time. */
  setTime(time: number): void {
    const journey = this.#journey;
    if (!journey) {
      return;
    }
    this.#time = Math.max(0, Math.min(journey.steps, time));
    const step = Math.floor(this.#time);
    if (step !== this.#step) {
      this.#step = step;
      this.#fill();
    }
    this.#pointUniforms.fraction.value = this.#time - step;
    for (const lines of [this.#trails, this.#way]) {
      lines.material.uniforms.now.value = this.#time;
    }
  }

  /** Fits the dots to a picture so many pixels high. */
  sizeDots(height: number): void {
    // Dots of many flows shrink, so that the box is not filled up.
    const flows = Math.max(this.#movingRows.length, 1);
    const world = Math.max(0.011, Math.min(0.034, 0.6 / Math.sqrt(flows)));
    const pixels = world * height;
    this.#moving.material.uniforms.size.value = pixels;
    this.#arrived.material.uniforms.size.value = 0.8 * pixels;
  }

  /** Hands over every flow that is shown, with its place now; the place is used again. */
  eachShown(take: (flow: number, at: Vector3) => void): void {
    const journey = this.#journey;
    if (!journey) {
      return;
    }
    const at = new Vector3();
    const fraction = this.#time - this.#step;
    for (let index = 0; index < this.#movingCount; index++) {
      const row = this.#movingRows[index];
      if (this.#standing[journey.rowFlow[row]] !== HIDDEN) {
        place(journey, row, fraction, at);
        take(journey.rowFlow[row], at);
      }
    }
    if (this.#arrived.visible) {
      const ended = this.#arrived.geometry.drawRange.count;
      for (let index = 0; index < ended; index++) {
        const flow = journey.endOrder[index];
        if (this.#standing[flow] !== HIDDEN) {
          take(flow, at.copy(endOf(journey, flow)));
        }
      }
    }
  }

  /** Frees what the objects do not own. */
  dispose(): void {
    this.#scale.dispose();
  }

  /** Writes the flows that move in this step; they are few attributes, once a step. */
  #fill(): void {
    const journey = this.#journey;
    if (!journey) {
      return;
    }
    const step = Math.max(this.#step, 0);
    const position = attribute(this.#moving, "position");
    const aim = attribute(this.#moving, "aim");
    const value = attribute(this.#moving, "value");
    const standing = attribute(this.#moving, "standing");
    const atOnce = attribute(this.#moving, "atOnce");
    const start = journey.stepStart[step + 1] ?? 0;
    const end = journey.stepStart[step + 2] ?? 0;
    let count = 0;
    // Lit flows come last, so that they are drawn over the faint ones.
    for (const lit of [false, true]) {
      for (let row = start; row < end; row++) {
        const from = journey.previous[row];
        const flow = journey.rowFlow[row];
        if (from < 0 || (this.#standing[flow] === LIT) !== lit) {
          continue;
        }
        const at = 3 * count;
        position.array[at] = journey.position[3 * from];
        position.array[at + 1] = journey.position[3 * from + 1];
        position.array[at + 2] = journey.position[3 * from + 2];
        aim.array[at] = journey.aim[2 * row];
        aim.array[at + 1] = journey.aim[2 * row + 1];
        aim.array[at + 2] = journey.position[3 * row + 2];
        value.array[count] = 255 * this.#values[row];
        standing.array[count] = 85 * this.#standing[flow];
        atOnce.array[count] = 255 * journey.atOnce[row];
        this.#movingRows[count] = row;
        count += 1;
      }
    }
    this.#movingCount = count;
    for (const column of [position, aim, value, standing, atOnce]) {
      column.needsUpdate = true;
    }
    this.#moving.geometry.setDrawRange(0, count);
    this.#arrived.geometry.setDrawRange(0, endedBefore(journey, step));
    const trails = journey.trails;
    if (trails) {
      const first = trails.stepStart[Math.max(0, step - TRAIL_STEPS)];
      const last = trails.stepStart[Math.min(step + 1, journey.steps)];
      this.#trails.geometry.setDrawRange(2 * first, 2 * (last - first));
    }
  }

  #dyeTrails(): void {
    const journey = this.#journey;
    if (!journey?.trails) {
      return;
    }
    const value = attribute(this.#trails, "value");
    const standing = attribute(this.#trails, "standing");
    journey.trails.row.forEach((row, piece) => {
      const shade = 255 * this.#values[row];
      const how = 85 * this.#standing[journey.rowFlow[row]];
      value.array[2 * piece] = shade;
      value.array[2 * piece + 1] = shade;
      standing.array[2 * piece] = how;
      standing.array[2 * piece + 1] = how;
    });
    value.needsUpdate = true;
    standing.needsUpdate = true;
    this.#layWay();
  }

  /** The whole way of the lit flows, from their start until now. */
  #layWay(): void {
    const trails = this.#journey?.trails;
    const journey = this.#journey;
    this.#way.visible = false;
    if (!journey || !trails || !this.#standing.includes(LIT)) {
      return;
    }
    const pieces: number[] = [];
    trails.row.forEach((row, piece) => {
      if (this.#standing[journey.rowFlow[row]] === LIT) {
        pieces.push(piece);
      }
    });
    const position = new Float32Array(6 * pieces.length);
    const time = new Float32Array(2 * pieces.length);
    const value = bytes(2 * pieces.length);
    pieces.forEach((piece, index) => {
      position.set(trails.position.subarray(6 * piece, 6 * piece + 6), 6 * index);
      time.set(trails.time.subarray(2 * piece, 2 * piece + 2), 2 * index);
      value.array.fill(255 * this.#values[trails.row[piece]], 2 * index, 2 * index + 2);
    });
    const standing = bytes(2 * pieces.length);
    standing.array.fill(255);
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(position, 3));
    geometry.setAttribute("time", new BufferAttribute(time, 1));
    geometry.setAttribute("value", value);
    geometry.setAttribute("standing", standing);
    this.#way.geometry.dispose();
    this.#way.geometry = geometry;
    this.#way.visible = true;
  }

  #pointMaterial(opacity: number): ShaderMaterial {
    return new ShaderMaterial({
      vertexShader: POINT_VERTEX,
      fragmentShader: POINT_FRAGMENT,
      uniforms: {
        ...this.#pointUniforms,
        size: { value: 12 },
        opacity: { value: opacity },
        scale: { value: this.#scale },
      },
      transparent: true,
    });
  }

  #trailMaterial(opacity: number, span: number): ShaderMaterial {
    return new ShaderMaterial({
      vertexShader: TRAIL_VERTEX,
      fragmentShader: TRAIL_FRAGMENT,
      uniforms: {
        now: { value: 0 },
        span: { value: span },
        opacity: { value: opacity },
        scale: { value: this.#scale },
      },
      transparent: true,
      depthWrite: false,
    });
  }
}

function bytes(count: number): BufferAttribute & { array: Uint8Array } {
  return new BufferAttribute(new Uint8Array(count), 1, true) as BufferAttribute & {
    array: Uint8Array;
  };
}

function attribute(
  object: { geometry: BufferGeometry },
  name: string,
): BufferAttribute & { array: Float32Array | Uint8Array } {
  return object.geometry.getAttribute(name) as BufferAttribute & {
    array: Float32Array | Uint8Array;
  };
}

function reshape(points: Points, count: number, dynamic: boolean): void {
  points.geometry.dispose();
  points.geometry = new BufferGeometry();
  const columns: [string, BufferAttribute][] = [
    ["position", new BufferAttribute(new Float32Array(3 * count), 3)],
    ["aim", new BufferAttribute(new Float32Array(3 * count), 3)],
    ["value", bytes(count)],
    ["standing", bytes(count)],
    ["atOnce", bytes(count)],
  ];
  for (const [name, column] of columns) {
    if (dynamic) {
      column.setUsage(DynamicDrawUsage);
    }
    points.geometry.setAttribute(name, column);
  }
}

function scaleTexture(): Texture {
  const colours = new Uint8Array(4 * 256);
  for (let index = 0; index < 256; index++) {
    colours.set(viridis.subarray(3 * index, 3 * index + 3), 4 * index);
    colours[4 * index + 3] = 255;
  }
  const texture = new DataTexture(colours, 256, 1, RGBAFormat);
  texture.needsUpdate = true;
  return texture;
}
