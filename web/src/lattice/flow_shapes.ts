/** Flows as shapes of a scene: dots that move, dots that have ended, and trails. */

import {
  BufferAttribute,
  BufferGeometry,
  DataTexture,
  DynamicDrawUsage,
  LineSegments,
  Points,
  RGBAFormat,
  ShaderMaterial,
  Vector3,
} from "three";
import type { FlowPaths } from "./flow_paths";
import { HIDDEN, HIGHLIGHTED, NORMAL } from "./lineage";
import { countEndedBefore, findEnd, placeFlow } from "./positions";
import { POINT_FRAGMENT, POINT_VERTEX, TRAIL_FRAGMENT, TRAIL_VERTEX } from "./shaders";

const TRAIL_STEPS = 3;

export class FlowShapes {
  /** The objects to add to the scene. */
  readonly objects: readonly (Points | LineSegments)[];

  readonly #colours = new Uint8Array(4 * 256).fill(255);
  readonly #scale = new DataTexture(this.#colours, 256, 1, RGBAFormat);
  readonly #pointUniforms = { fraction: { value: 0 } };
  readonly #moving: Points<BufferGeometry, ShaderMaterial>;
  readonly #ended: Points<BufferGeometry, ShaderMaterial>;
  readonly #trails: LineSegments<BufferGeometry, ShaderMaterial>;
  readonly #highlighted: LineSegments<BufferGeometry, ShaderMaterial>;

  #paths: FlowPaths | null = null;
  #values: Float32Array = new Float32Array(0);
  #emphasis: Uint8Array = new Uint8Array(0);
  #step = -1;
  #time = 0;
  #movingRows = new Int32Array(0);
  #movingCount = 0;

  constructor() {
    this.#moving = new Points(new BufferGeometry(), this.#pointMaterial(1));
    this.#ended = new Points(new BufferGeometry(), this.#pointMaterial(0.55));
    this.#trails = new LineSegments(new BufferGeometry(), this.#trailMaterial(0.5, TRAIL_STEPS));
    this.#highlighted = new LineSegments(new BufferGeometry(), this.#trailMaterial(1, 1e6));
    this.objects = [this.#trails, this.#ended, this.#moving, this.#highlighted];
    for (const object of this.objects) {
      // All shapes are inside the box, which is always in view.
      object.frustumCulled = false;
      object.visible = false;
    }
  }

  /** Set the colours of values from 0 to 1, as a table of 256 RGB colours. */
  setScale(scale: Uint8Array): void {
    for (let index = 0; index < 256; index++) {
      this.#colours.set(scale.subarray(3 * index, 3 * index + 3), 4 * index);
    }
    this.#scale.needsUpdate = true;
  }

  setPaths(paths: FlowPaths): void {
    this.#paths = paths;
    this.#step = -1;
    const flows = paths.flow.length;
    let most = 0;
    for (let step = 0; step < paths.steps; step++) {
      most = Math.max(most, paths.stepStart[step + 2] - paths.stepStart[step + 1]);
    }
    this.#movingRows = new Int32Array(most);
    reshape(this.#moving, most, true);
    reshape(this.#ended, flows, false);
    const ends = this.#ended.geometry.getAttribute("position").array as Float32Array;
    paths.endOrder.forEach((flow, index) => {
      findEnd(paths, flow).toArray(ends, 3 * index);
    });
    (this.#ended.geometry.getAttribute("target").array as Float32Array).set(ends);
    const trails = paths.trails;
    if (trails) {
      const geometry = this.#trails.geometry;
      geometry.setAttribute("position", new BufferAttribute(trails.position, 3));
      geometry.setAttribute("time", new BufferAttribute(trails.time, 1));
      geometry.setAttribute("value", byteAttribute(2 * trails.row.length));
      geometry.setAttribute("emphasis", byteAttribute(2 * trails.row.length));
    }
    this.#trails.visible = trails !== null;
    this.#moving.visible = true;
    this.setValues(new Float32Array(paths.rowFlow.length));
    this.setEmphasis(new Uint8Array(flows).fill(NORMAL));
    this.setTime(0);
  }

  /** Set the colour of each row: its position on the scale, 0 to 1. */
  setValues(values: Float32Array): void {
    const paths = this.#paths;
    if (!paths) {
      return;
    }
    this.#values = values;
    const ends = getAttribute(this.#ended, "value");
    paths.endOrder.forEach((flow, index) => {
      ends.array[index] = 255 * values[paths.lastRow[flow]];
    });
    ends.needsUpdate = true;
    this.#colourTrails();
    this.#fill();
  }

  /** Set how each flow is shown: a constant of `lineage.ts`. */
  setEmphasis(emphasis: Uint8Array): void {
    const paths = this.#paths;
    if (!paths) {
      return;
    }
    this.#emphasis = emphasis;
    const ends = getAttribute(this.#ended, "emphasis");
    paths.endOrder.forEach((flow, index) => {
      ends.array[index] = 85 * emphasis[flow];
    });
    ends.needsUpdate = true;
    // Solid dots hide those behind them; dim ones must not.
    const solid = emphasis.every((value) => value === NORMAL || value === HIDDEN);
    this.#moving.material.depthWrite = solid;
    this.#buildHighlighted();
    this.#colourTrails();
    this.#fill();
  }

  setEndedShown(shown: boolean): void {
    this.#ended.visible = shown;
  }

  /** Show a time, from 0 to `steps`. */
  setTime(time: number): void {
    const paths = this.#paths;
    if (!paths) {
      return;
    }
    this.#time = Math.max(0, Math.min(paths.steps, time));
    const step = Math.floor(this.#time);
    if (step !== this.#step) {
      this.#step = step;
      this.#fill();
    }
    this.#pointUniforms.fraction.value = this.#time - step;
    for (const lines of [this.#trails, this.#highlighted]) {
      lines.material.uniforms.now.value = this.#time;
    }
  }

  /** Set the size of the dots for a picture of this height in pixels. */
  sizeDots(height: number): void {
    // Many flows have smaller dots, so that they do not fill the box.
    const flows = Math.max(this.#movingRows.length, 1);
    const world = Math.max(0.011, Math.min(0.034, 0.6 / Math.sqrt(flows)));
    const pixels = world * height;
    this.#moving.material.uniforms.size.value = pixels;
    this.#ended.material.uniforms.size.value = 0.8 * pixels;
  }

  /** Call `visit` with each flow that is shown and its position; the vector is reused. */
  forEachShown(visit: (flow: number, at: Vector3) => void): void {
    const paths = this.#paths;
    if (!paths) {
      return;
    }
    const at = new Vector3();
    const fraction = this.#time - this.#step;
    for (let index = 0; index < this.#movingCount; index++) {
      const row = this.#movingRows[index];
      if (this.#emphasis[paths.rowFlow[row]] !== HIDDEN) {
        placeFlow(paths, row, fraction, at);
        visit(paths.rowFlow[row], at);
      }
    }
    if (this.#ended.visible) {
      const ended = this.#ended.geometry.drawRange.count;
      for (let index = 0; index < ended; index++) {
        const flow = paths.endOrder[index];
        if (this.#emphasis[flow] !== HIDDEN) {
          visit(flow, at.copy(findEnd(paths, flow)));
        }
      }
    }
  }

  /** Free what the objects do not own. */
  dispose(): void {
    this.#scale.dispose();
  }

  /** Write the attributes of the flows that move in this step; called once a step. */
  #fill(): void {
    const paths = this.#paths;
    if (!paths) {
      return;
    }
    const step = Math.max(this.#step, 0);
    const position = getAttribute(this.#moving, "position");
    const target = getAttribute(this.#moving, "target");
    const value = getAttribute(this.#moving, "value");
    const emphasis = getAttribute(this.#moving, "emphasis");
    const jumps = getAttribute(this.#moving, "jumps");
    const start = paths.stepStart[step + 1] ?? 0;
    const end = paths.stepStart[step + 2] ?? 0;
    let count = 0;
    // Highlighted flows come last, so that they are drawn over the dim ones.
    for (const isHighlighted of [false, true]) {
      for (let row = start; row < end; row++) {
        const from = paths.previous[row];
        const flow = paths.rowFlow[row];
        if (from < 0 || (this.#emphasis[flow] === HIGHLIGHTED) !== isHighlighted) {
          continue;
        }
        const at = 3 * count;
        position.array[at] = paths.position[3 * from];
        position.array[at + 1] = paths.position[3 * from + 1];
        position.array[at + 2] = paths.position[3 * from + 2];
        target.array[at] = paths.target[2 * row];
        target.array[at + 1] = paths.target[2 * row + 1];
        target.array[at + 2] = paths.position[3 * row + 2];
        value.array[count] = 255 * this.#values[row];
        emphasis.array[count] = 85 * this.#emphasis[flow];
        jumps.array[count] = 255 * paths.jumps[row];
        this.#movingRows[count] = row;
        count += 1;
      }
    }
    this.#movingCount = count;
    for (const column of [position, target, value, emphasis, jumps]) {
      column.needsUpdate = true;
    }
    this.#moving.geometry.setDrawRange(0, count);
    this.#ended.geometry.setDrawRange(0, countEndedBefore(paths, step));
    const trails = paths.trails;
    if (trails) {
      const first = trails.stepStart[Math.max(0, step - TRAIL_STEPS)];
      const last = trails.stepStart[Math.min(step + 1, paths.steps)];
      this.#trails.geometry.setDrawRange(2 * first, 2 * (last - first));
    }
  }

  #colourTrails(): void {
    const paths = this.#paths;
    if (!paths?.trails) {
      return;
    }
    const value = getAttribute(this.#trails, "value");
    const emphasis = getAttribute(this.#trails, "emphasis");
    paths.trails.row.forEach((row, piece) => {
      const shade = 255 * this.#values[row];
      const how = 85 * this.#emphasis[paths.rowFlow[row]];
      value.array[2 * piece] = shade;
      value.array[2 * piece + 1] = shade;
      emphasis.array[2 * piece] = how;
      emphasis.array[2 * piece + 1] = how;
    });
    value.needsUpdate = true;
    emphasis.needsUpdate = true;
    this.#buildHighlighted();
  }

  /** Build the trails of the highlighted flows, from their start until now. */
  #buildHighlighted(): void {
    const trails = this.#paths?.trails;
    const paths = this.#paths;
    this.#highlighted.visible = false;
    if (!paths || !trails || !this.#emphasis.includes(HIGHLIGHTED)) {
      return;
    }
    const pieces: number[] = [];
    trails.row.forEach((row, piece) => {
      if (this.#emphasis[paths.rowFlow[row]] === HIGHLIGHTED) {
        pieces.push(piece);
      }
    });
    const position = new Float32Array(6 * pieces.length);
    const time = new Float32Array(2 * pieces.length);
    const value = byteAttribute(2 * pieces.length);
    pieces.forEach((piece, index) => {
      position.set(trails.position.subarray(6 * piece, 6 * piece + 6), 6 * index);
      time.set(trails.time.subarray(2 * piece, 2 * piece + 2), 2 * index);
      value.array.fill(255 * this.#values[trails.row[piece]], 2 * index, 2 * index + 2);
    });
    const emphasis = byteAttribute(2 * pieces.length);
    emphasis.array.fill(255);
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(position, 3));
    geometry.setAttribute("time", new BufferAttribute(time, 1));
    geometry.setAttribute("value", value);
    geometry.setAttribute("emphasis", emphasis);
    this.#highlighted.geometry.dispose();
    this.#highlighted.geometry = geometry;
    this.#highlighted.visible = true;
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

function byteAttribute(count: number): BufferAttribute & { array: Uint8Array } {
  return new BufferAttribute(new Uint8Array(count), 1, true) as BufferAttribute & {
    array: Uint8Array;
  };
}

function getAttribute(
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
    ["target", new BufferAttribute(new Float32Array(3 * count), 3)],
    ["value", byteAttribute(count)],
    ["emphasis", byteAttribute(count)],
    ["jumps", byteAttribute(count)],
  ];
  for (const [name, column] of columns) {
    if (dynamic) {
      column.setUsage(DynamicDrawUsage);
    }
    points.geometry.setAttribute(name, column);
  }
}
