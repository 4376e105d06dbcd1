/** The lattice in 3D. The number of draw calls does not depend on the number of flows. */

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
import type { Plane } from "../generated/choices";
import type { FlowPaths } from "./flow_paths";
import { FlowShapes } from "./flow_shapes";

interface FrameFigures {
  drawCalls: number;
  /** Median script time of a frame in milliseconds. */
  median: number;
  /** Longest script time of a frame in milliseconds. */
  worst: number;
  frames: number;
}

export interface Label {
  name: Plane | "input";
  x: number;
  y: number;
}

/** Colours of the cells of a plane, RGBA, row by row from y = −1. */
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
  /** Called before every frame. */
  onFrame: (elapsedMs: number) => void = () => {};

  readonly #renderer: WebGLRenderer;
  readonly #scene = new Scene();
  readonly #camera = new PerspectiveCamera(38, 1, 0.1, 30);
  readonly #controls: OrbitControls;
  // Made before the box: of shapes at one depth, the one made first is drawn first.
  readonly #flows = new FlowShapes();
  readonly #lines = new LineBasicMaterial({ transparent: true });
  readonly #tints: [MeshBasicMaterial, MeshBasicMaterial, MeshBasicMaterial];

  #dirty = true;
  #running = 0;
  #lastFrame = 0;
  #durations: number[] = [];
  #frames = 0;

  /** @throws Error the browser has no WebGL. */
  constructor(canvas: HTMLCanvasElement) {
    this.#renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.#renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.#camera.up.set(0, 0, 1);
    this.#controls = new OrbitControls(this.#camera, canvas);
    this.#controls.enablePan = false;
    this.#controls.minDistance = 2;
    this.#controls.maxDistance = 9;
    this.resetCamera();
    this.#controls.addEventListener("change", () => this.#requestFrame());

    const box = new LineSegments(new EdgesGeometry(new BoxGeometry(2, 2, 2)), this.#lines);
    // All shapes are inside the box, which is always in view.
    box.frustumCulled = false;
    this.#tints = [this.#addPlane(-1), this.#addPlane(0), this.#addPlane(1)];
    this.#scene.add(box, ...this.#flows.objects);
  }

  resetCamera(): void {
    this.#camera.position.set(2.6, -4.1, 2);
    this.#controls.target.set(0, 0, -0.1);
    this.#controls.update();
  }

  /** Turn the camera around the box, in radians. */
  orbit(around: number, over: number): void {
    const offset = this.#camera.position.clone();
    offset.applyAxisAngle(this.#camera.up, around);
    const side = new Vector3().crossVectors(this.#camera.up, offset).normalize();
    const tilted = offset.clone().applyAxisAngle(side, over);
    // Not over the poles, where up is undefined.
    if (Math.abs(tilted.clone().normalize().z) < 0.98) {
      offset.copy(tilted);
    }
    this.#camera.position.copy(offset);
    this.#controls.update();
    this.#requestFrame();
  }

  zoom(factor: number): void {
    const distance = this.#camera.position.length() * factor;
    this.#camera.position.setLength(Math.max(2, Math.min(9, distance)));
    this.#controls.update();
    this.#requestFrame();
  }

  setTheme(line: string, plane: string): void {
    this.#lines.color.set(line);
    this.#lines.opacity = 0.55;
    for (const tint of this.#tints) {
      if (tint.map === null) {
        tint.color.set(plane);
      }
    }
    this.#requestFrame();
  }

  setPaths(paths: FlowPaths): void {
    this.#flows.setPaths(paths);
    this.#sizeDots();
  }

  /** Set the colour of each row: its position on the scale, 0 to 1. */
  setValues(values: Float32Array): void {
    this.#flows.setValues(values);
    this.#requestFrame();
  }

  setScale(scale: Uint8Array): void {
    this.#flows.setScale(scale);
    this.#requestFrame();
  }

  /** Set how each flow is shown: a constant of `lineage.ts`. */
  setEmphasis(emphasis: Uint8Array): void {
    this.#flows.setEmphasis(emphasis);
    this.#requestFrame();
  }

  setEndedShown(shown: boolean): void {
    this.#flows.setEndedShown(shown);
    this.#requestFrame();
  }

  /** Set the pictures on the exit planes; null for a plain tint. */
  setPlanes(z0: PlanePicture | null, zdepth: PlanePicture | null): void {
    for (const [tint, picture] of [
      [this.#tints[0], z0],
      [this.#tints[2], zdepth],
    ] as const) {
      tint.map?.dispose();
      tint.map = picture ? buildPlaneTexture(picture) : null;
      tint.opacity = picture ? 0.8 : 0.1;
      if (picture) {
        tint.color.set("#ffffff");
      }
      tint.needsUpdate = true;
    }
    this.#requestFrame();
  }

  /** Show a time, from 0 to the number of steps. */
  setTime(time: number): void {
    this.#flows.setTime(time);
    this.#requestFrame();
  }

  resize(width: number, height: number): void {
    this.#renderer.setSize(width, height, false);
    this.#camera.aspect = width / height;
    // The whole box is also in view in a narrow window.
    this.#camera.fov =
      width < height ? 2 * Math.atan(0.36 * (height / width)) * (180 / Math.PI) : 38;
    this.#camera.updateProjectionMatrix();
    this.#sizeDots();
  }

  /** Return the shown flow nearest to a point, given from −1 to 1; −1 where none is within `reach`. */
  pick(x: number, y: number, reach: number): number {
    const width = this.#renderer.domElement.width;
    const height = this.#renderer.domElement.height;
    let best = reach * reach;
    let depth = Infinity;
    let found = -1;
    this.#flows.forEachShown((flow, at) => {
      at.project(this.#camera);
      const away = ((at.x - x) * width) ** 2 + ((at.y - y) * height) ** 2;
      // Of dots that are about equally near, take the one in front.
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
        this.#placeLabels();
        // The first frames also upload the buffers and compile the shaders.
        if (this.#frames >= FIRST_FRAMES) {
          this.#durations[this.#frames % METERED_FRAMES] = performance.now() - began;
        }
        this.#frames += 1;
      }
    };
    this.#running = requestAnimationFrame(frame);
  }

  measureFrames(): FrameFigures {
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

  #requestFrame(): void {
    this.#dirty = true;
  }

  #sizeDots(): void {
    this.#flows.sizeDots(this.#renderer.domElement.height);
    this.#requestFrame();
  }

  /** Place the labels at the vertical edge of the box that is farthest to the right. */
  #placeLabels(): void {
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
      // Otherwise each plane is drawn twice, from both sides.
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

function buildPlaneTexture({ width, height, colours }: PlanePicture): Texture {
  const texture = new DataTexture(colours, width, height, RGBAFormat);
  texture.colorSpace = SRGBColorSpace;
  texture.magFilter = NearestFilter;
  texture.needsUpdate = true;
  return texture;
}
