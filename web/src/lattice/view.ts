/** The lattice in 3D: a journey drawn in a handful of calls, whatever the number of flows. */

import {
  BoxGeometry,
  BufferAttribute,
  BufferGeometry,
  DataTexture,
  DoubleSide,
  DynamicDrawUsage,
  EdgesGeometry,
  LineBasicMaterial,
  LineSegments,
  type Material,
  Mesh,
  MeshBasicMaterial,
  NearestFilter,
  PerspectiveCamera,
  PlaneGeometry,
  Points,
  RGBAFormat,
  Scene,
  ShaderMaterial,
  SRGBColorSpace,
  type Texture,
  Vector3,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { viridis } from "../colour";
import { fold } from "./fold";
import type { Journey } from "./journey";
import { HIDDEN, LIT, NORMAL } from "./lineage";
import { POINT_FRAGMENT, POINT_VERTEX, TRAIL_FRAGMENT, TRAIL_VERTEX } from "./shaders";

export interface FrameFigures {
  drawCalls: number;
  /** Script time of the frames so far, in milliseconds. */
  median: number;
  worst: number;
  frames: number;
}

export interface Label {
  name: "z0" | "input" | "zdepth";
  x: number;
  y: number;
}

/** Colours of one plane's cells, RGBA, row by row from y = −1. */
export interface PlanePicture {
  width: number;
  height: number;
  colours: Uint8Array;
}

const TRAIL_STEPS = 3;
const METERED_FRAMES = 240;
const FIRST_FRAMES = 3;
const LABELS: readonly [Label["name"], number][] = [
  ["z0", -1],
  ["input", 0],
  ["zdepth", 1],
];
const EDGES: readonly (readonly [number, number])[] = [
  [-1, -1],
  [-1, 1],
  [1, -1],
  [1, 1],
];

export class LatticeView {
  onLabels: (labels: Label[]) => void = () => {};
  /** Called on every frame while time passes. */
  onFrame: (elapsedMs: number) => void = () => {};

  readonly #renderer: WebGLRenderer;
  readonly #scene = new Scene();
  readonly #camera = new PerspectiveCamera(38, 1, 0.1, 30);
  readonly #controls: OrbitControls;
  readonly #scale = scaleTexture();
  readonly #pointUniforms = { fraction: { value: 0 } };
  readonly #moving: Points<BufferGeometry, ShaderMaterial>;
  readonly #arrived: Points<BufferGeometry, ShaderMaterial>;
  readonly #trails: LineSegments<BufferGeometry, ShaderMaterial>;
  readonly #way: LineSegments<BufferGeometry, ShaderMaterial>;
  readonly #lines = new LineBasicMaterial({ transparent: true });
  readonly #tints: [MeshBasicMaterial, MeshBasicMaterial, MeshBasicMaterial];

  #journey: Journey | null = null;
  #values: Float32Array = new Float32Array(0);
  #standing: Uint8Array = new Uint8Array(0);
  #step = -1;
  #time = 0;
  #movingRows = new Int32Array(0);
  #movingCount = 0;
  #dirty = true;
  #running = 0;
  #lastFrame = 0;
  #durations: number[] = [];
  #frames = 0;

  /** @throws Error there is no WebGL. */
  constructor(canvas: HTMLCanvasElement) {
    this.#renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.#renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.#camera.up.set(0, 0, 1);
    this.#controls = new OrbitControls(this.#camera, canvas);
    this.#controls.enablePan = false;
    this.#controls.minDistance = 2;
    this.#controls.maxDistance = 9;
    this.resetCamera();
    this.#controls.addEventListener("change", () => this.#touch());

    this.#moving = new Points(new BufferGeometry(), this.#pointMaterial(1));
    this.#arrived = new Points(new BufferGeometry(), this.#pointMaterial(0.55));
    this.#trails = new LineSegments(new BufferGeometry(), this.#trailMaterial(0.5, TRAIL_STEPS));
    this.#way = new LineSegments(new BufferGeometry(), this.#trailMaterial(1, 1e6));
    const box = new LineSegments(new EdgesGeometry(new BoxGeometry(2, 2, 2)), this.#lines);
    this.#tints = [this.#addPlane(-1), this.#addPlane(0), this.#addPlane(1)];
    for (const object of [box, this.#trails, this.#arrived, this.#moving, this.#way]) {
      // Everything lies in the box, which is always in view.
      object.frustumCulled = false;
      this.#scene.add(object);
    }
    for (const object of [this.#trails, this.#arrived, this.#moving, this.#way]) {
      object.visible = false;
    }
  }

  resetCamera(): void {
    this.#camera.position.set(2.6, -4.1, 2);
    this.#controls.target.set(0, 0, -0.1);
    this.#controls.update();
  }

  /** Turns the camera around the box, in radians. */
  orbit(around: number, over: number): void {
    const offset = this.#camera.position.clone();
    offset.applyAxisAngle(this.#camera.up, around);
    const side = new Vector3().crossVectors(this.#camera.up, offset).normalize();
    const tilted = offset.clone().applyAxisAngle(side, over);
    // Not over the poles, where up has no meaning.
    if (Math.abs(tilted.clone().normalize().z) < 0.98) {
      offset.copy(tilted);
    }
    this.#camera.position.copy(offset);
    this.#controls.update();
    this.#touch();
  }

  zoom(factor: number): void {
    const distance = this.#camera.position.length() * factor;
    this.#camera.position.setLength(Math.max(2, Math.min(9, distance)));
    this.#controls.update();
    this.#touch();
  }

  setTheme(line: string, plane: string): void {
    this.#lines.color.set(line);
    this.#lines.opacity = 0.55;
    for (const tint of this.#tints) {
      if (tint.map === null) {
        tint.color.set(plane);
      }
    }
    this.#touch();
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
    this.#sizeDots();
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
    this.#touch();
  }

  /** Pictures on the exit planes; null for a plain tint. */
  setPlanes(z0: PlanePicture | null, zdepth: PlanePicture | null): void {
    for (const [tint, picture] of [
      [this.#tints[0], z0],
      [this.#tints[2], zdepth],
    ] as const) {
      tint.map?.dispose();
      tint.map = picture ? planeTexture(picture) : null;
      tint.opacity = picture ? 0.8 : 0.1;
      if (picture) {
        tint.color.set("#ffffff");
      }
      tint.needsUpdate = true;
    }
    this.#touch();
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
    this.#touch();
  }

  resize(width: number, height: number): void {
    this.#renderer.setSize(width, height, false);
    this.#camera.aspect = width / height;
    // A narrow window sees the whole box too.
    this.#camera.fov =
      width < height ? 2 * Math.atan(0.36 * (height / width)) * (180 / Math.PI) : 38;
    this.#camera.updateProjectionMatrix();
    this.#sizeDots();
  }

  /** The flow shown nearest to a place in the picture, both from −1 to 1; −1 where none is near. */
  pick(x: number, y: number, reach: number): number {
    const journey = this.#journey;
    if (!journey) {
      return -1;
    }
    const width = this.#renderer.domElement.width;
    const height = this.#renderer.domElement.height;
    const at = new Vector3();
    const fraction = this.#time - this.#step;
    let best = reach * reach;
    let depth = Infinity;
    let found = -1;
    const consider = (flow: number): void => {
      if (this.#standing[flow] === HIDDEN) {
        return;
      }
      at.project(this.#camera);
      const away = ((at.x - x) * width) ** 2 + ((at.y - y) * height) ** 2;
      // Of dots about equally near, the one in front.
      if (away < best - 16 || (away < best + 16 && away < reach * reach && at.z < depth)) {
        best = Math.min(best, away);
        depth = at.z;
        found = flow;
      }
    };
    for (let index = 0; index < this.#movingCount; index++) {
      const row = this.#movingRows[index];
      place(journey, row, fraction, at);
      consider(journey.rowFlow[row]);
    }
    if (this.#arrived.visible) {
      const ended = this.#arrived.geometry.drawRange.count;
      for (let index = 0; index < ended; index++) {
        const flow = journey.endOrder[index];
        at.copy(endOf(journey, flow));
        consider(flow);
      }
    }
    return found;
  }

  /** Where a flow is seen now, both from −1 to 1; null where it is not. */
  locate(flow: number): [number, number] | null {
    const journey = this.#journey;
    if (!journey) {
      return null;
    }
    const at = new Vector3();
    const moving = this.#movingRows.subarray(0, this.#movingCount);
    const row = moving.find((candidate) => journey.rowFlow[candidate] === flow);
    if (row !== undefined) {
      place(journey, row, this.#time - this.#step, at);
    } else if (journey.endStep[flow] < this.#step) {
      at.copy(endOf(journey, flow));
    } else {
      return null;
    }
    at.project(this.#camera);
    return [at.x, at.y];
  }

  start(): void {
    const frame = (now: number): void => {
      this.#running = requestAnimationFrame(frame);
      const began = performance.now();
      this.onFrame(this.#lastFrame ? now - this.#lastFrame : 0);
      this.#lastFrame = now;
      if (this.#dirty) {
        this.#dirty = false;
        this.#renderer.render(this.#scene, this.#camera);
        this.#tellLabels();
        // The first frames send the buffers and build the programs.
        if (this.#frames >= FIRST_FRAMES) {
          this.#durations[this.#frames % METERED_FRAMES] = performance.now() - began;
        }
        this.#frames += 1;
      }
    };
    this.#running = requestAnimationFrame(frame);
  }

  figures(): FrameFigures {
    const sorted = this.#durations.filter(Number.isFinite).sort((a, b) => a - b);
    return {
      drawCalls: this.#renderer.info.render.calls,
      median: sorted[sorted.length >> 1] ?? 0,
      worst: sorted.at(-1) ?? 0,
      frames: this.#frames,
    };
  }

  dispose(): void {
    cancelAnimationFrame(this.#running);
    this.#controls.dispose();
    this.#scene.traverse((object) => {
      if (object instanceof Mesh || object instanceof Points || object instanceof LineSegments) {
        const { geometry, material } = object as Mesh<BufferGeometry, Material>;
        geometry.dispose();
        material.dispose();
      }
    });
    for (const tint of this.#tints) {
      tint.map?.dispose();
    }
    this.#scale.dispose();
    this.#renderer.dispose();
  }

  #touch(): void {
    this.#dirty = true;
  }

  #sizeDots(): void {
    // Dots of many flows shrink, so that the box is not filled up.
    const flows = Math.max(this.#movingRows.length, 1);
    const world = Math.max(0.011, Math.min(0.034, 0.6 / Math.sqrt(flows)));
    const pixels = world * this.#renderer.domElement.height;
    this.#moving.material.uniforms.size.value = pixels;
    this.#arrived.material.uniforms.size.value = 0.8 * pixels;
    this.#touch();
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
    this.#touch();
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

  /** Labels stand at whichever edge of the box is seen farthest to the right. */
  #tellLabels(): void {
    const at = new Vector3();
    const across = ([x, y]: readonly [number, number]) => at.set(x, y, 0).project(this.#camera).x;
    const [x, y] = EDGES.reduce((best, edge) => (across(edge) > across(best) ? edge : best));
    this.onLabels(
      LABELS.map(([name, z]) => {
        at.set(x, y, z).project(this.#camera);
        return { name, x: (at.x + 1) / 2, y: (1 - at.y) / 2 };
      }),
    );
  }

  #addPlane(z: number): MeshBasicMaterial {
    const material = new MeshBasicMaterial({
      transparent: true,
      opacity: z === 0 ? 0.05 : 0.1,
      side: DoubleSide,
      // Otherwise each plane is drawn twice, back and front.
      forceSinglePass: true,
      depthWrite: false,
    });
    const plane = new Mesh(new PlaneGeometry(2, 2), material);
    plane.position.z = z;
    plane.renderOrder = -1;
    this.#scene.add(plane);
    return material;
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

/** Flows that ended before a step. */
export function endedBefore(journey: Journey, step: number): number {
  let low = 0;
  let high = journey.endOrder.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (journey.endStep[journey.endOrder[middle]] < step) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/** Where a flow is after its end: on the plane that it was tallied at. */
function endOf(journey: Journey, flow: number): Vector3 {
  const at = new Vector3().fromArray(journey.position, 3 * journey.lastRow[flow]);
  if (journey.plane[flow] >= 0) {
    at.z = 2 * journey.plane[flow] - 1;
  }
  return at;
}

/** Where the flow of a row is, some fraction of the way to it. */
function place(journey: Journey, row: number, fraction: number, at: Vector3): void {
  const from = 3 * journey.previous[row];
  const share = journey.atOnce[row] ? 0 : fraction;
  const { position, aim } = journey;
  at.set(
    fold(position[from] + share * (aim[2 * row] - position[from])),
    fold(position[from + 1] + share * (aim[2 * row + 1] - position[from + 1])),
    position[from + 2] + share * (position[3 * row + 2] - position[from + 2]),
  );
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

function planeTexture({ width, height, colours }: PlanePicture): Texture {
  const texture = new DataTexture(colours, width, height, RGBAFormat);
  texture.colorSpace = SRGBColorSpace;
  texture.magFilter = NearestFilter;
  texture.needsUpdate = true;
  return texture;
}
