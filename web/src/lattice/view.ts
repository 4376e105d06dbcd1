/** The lattice in 3D: a journey drawn in a handful of calls, whatever the number of flows. */

import {
  BoxGeometry,
  type BufferGeometry,
  DataTexture,
  DoubleSide,
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
  SRGBColorSpace,
  type Texture,
  Vector3,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { FlowShapes } from "./flow_shapes";
import type { Journey } from "./journey";

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
  // Before the box: of shapes at one depth, the one made first is drawn first.
  readonly #flows = new FlowShapes();
  readonly #lines = new LineBasicMaterial({ transparent: true });
  readonly #tints: [MeshBasicMaterial, MeshBasicMaterial, MeshBasicMaterial];

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

    const box = new LineSegments(new EdgesGeometry(new BoxGeometry(2, 2, 2)), this.#lines);
    // Everything lies in the box, which is always in view.
    box.frustumCulled = false;
    this.#tints = [this.#addPlane(-1), this.#addPlane(0), this.#addPlane(1)];
    this.#scene.add(box, ...this.#flows.objects);
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
    this.#flows.setJourney(journey);
    this.#sizeDots();
  }

  /** Colours: for each row a place on the scale, 0 to 1. */
  setValues(values: Float32Array): void {
    this.#flows.setValues(values);
    this.#touch();
  }

  /** How each flow is shown; see `lineage.ts`. */
  setStanding(standing: Uint8Array): void {
    this.#flows.setStanding(standing);
    this.#touch();
  }

  setArrivedShown(shown: boolean): void {
    this.#flows.setArrivedShown(shown);
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
    this.#flows.setTime(time);
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
    const width = this.#renderer.domElement.width;
    const height = this.#renderer.domElement.height;
    let best = reach * reach;
    let depth = Infinity;
    let found = -1;
    this.#flows.eachShown((flow, at) => {
      at.project(this.#camera);
      const away = ((at.x - x) * width) ** 2 + ((at.y - y) * height) ** 2;
      // Of dots about equally near, the one in front.
      if (away < best - 16 || (away < best + 16 && away < reach * reach && at.z < depth)) {
        best = Math.min(best, away);
        depth = at.z;
        found = flow;
      }
    });
    return found;
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
    this.#flows.dispose();
    this.#renderer.dispose();
  }

  #touch(): void {
    this.#dirty = true;
  }

  #sizeDots(): void {
    this.#flows.sizeDots(this.#renderer.domElement.height);
    this.#touch();
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
}

function planeTexture({ width, height, colours }: PlanePicture): Texture {
  const texture = new DataTexture(colours, width, height, RGBAFormat);
  texture.colorSpace = SRGBColorSpace;
  texture.magFilter = NearestFilter;
  texture.needsUpdate = true;
  return texture;
}
