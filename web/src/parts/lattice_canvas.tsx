import { useEffect, useRef, useState } from "preact/hooks";
import type { FlowPaths } from "../lattice/flow_paths";
import type { Player } from "../lattice/player";
import { type Label, LatticeView, type PlanePicture } from "../lattice/view";
import { formatCount } from "../text/numbers";
import { useMedia, useSize } from "./hooks";
import { Notice } from "./notice";

interface LatticeCanvasProps {
  paths: FlowPaths;
  player: Player;
  values: Float32Array;
  emphasis: Uint8Array;
  showEnded: boolean;
  /** Colours of the values. */
  scale: Uint8Array;
  planes: [PlanePicture | null, PlanePicture | null];
  onSelect: (flow: number) => void;
  /** Called to select the next shown flow, or the one before. */
  onPick: (direction: 1 | -1) => void;
  /** What the picture shows. */
  title: string;
}

const NAMES: Record<Label["name"], string> = { z0: "z0", input: "input", zdepth: "zdepth" };
const PICK_RADIUS_PIXELS = 14;
const TURN = Math.PI / 24;

/** The lattice with its flows. Dragging or the arrow keys turn it; the wheel, + and − zoom. */
export function LatticeCanvas(props: LatticeCanvasProps) {
  const { paths, player, values, emphasis, showEnded, scale, planes, onSelect, onPick, title } =
    props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const labels = useRef<HTMLDivElement>(null);
  const figures = useRef<HTMLOutputElement>(null);
  const [view, setView] = useState<LatticeView | null>(null);
  const [isUnsupported, setUnsupported] = useState(false);
  const [attach, size] = useSize();
  const dark = useMedia("(prefers-color-scheme: dark)");

  useEffect(() => {
    if (!canvas.current) {
      return undefined;
    }
    let created: LatticeView;
    try {
      created = new LatticeView(canvas.current);
    } catch {
      setUnsupported(true);
      return undefined;
    }
    created.onLabels = (labelPositions) => {
      for (const { name, x, y } of labelPositions) {
        const label = labels.current?.querySelector<HTMLElement>(`[data-label="${name}"]`);
        if (label) {
          label.style.left = `${100 * x}%`;
          label.style.top = `${100 * y}%`;
        }
      }
    };
    created.start();
    setView(created);
    return () => created.dispose();
  }, []);

  useEffect(() => {
    if (view && size.width && size.height) {
      view.resize(size.width, size.height);
    }
  }, [view, size]);
  useEffect(() => {
    if (view && canvas.current) {
      const style = getComputedStyle(canvas.current);
      view.setTheme(style.getPropertyValue("--line-strong"), style.getPropertyValue("--accent"));
    }
  }, [view, dark, planes]);
  useEffect(() => view?.setPaths(paths), [view, paths]);
  useEffect(() => view?.setValues(values), [view, paths, values]);
  useEffect(() => view?.setScale(scale), [view, scale]);
  useEffect(() => view?.setEmphasis(emphasis), [view, paths, emphasis]);
  useEffect(() => view?.setEndedShown(showEnded), [view, showEnded]);
  useEffect(() => view?.setPlanes(...planes), [view, planes]);
  useEffect(() => {
    if (!view) {
      return undefined;
    }
    view.onFrame = (elapsed) => player.advance(elapsed);
    view.setTime(player.time);
    return player.subscribe(() => view.setTime(player.time));
  }, [view, player, paths]);
  useEffect(() => {
    if (!view) {
      return undefined;
    }
    const timer = setInterval(() => {
      const now = view.measureFrames();
      if (figures.current && now.frames) {
        figures.current.dataset.drawCalls = String(now.drawCalls);
        figures.current.dataset.median = now.median.toFixed(2);
        figures.current.dataset.worst = now.worst.toFixed(2);
        figures.current.dataset.frames = String(now.frames);
        const script = now.median > 0 ? ` · ${now.median.toFixed(1)} ms of script a frame` : "";
        figures.current.textContent = `${formatCount(paths.flow.length)} flows · ${now.drawCalls} draw calls${script}`;
      }
    }, 500);
    return () => clearInterval(timer);
  }, [view, paths]);

  const pressed = useRef<[number, number] | null>(null);
  const release = (event: PointerEvent): void => {
    const from = pressed.current;
    pressed.current = null;
    // Dragging turns the box and selects nothing.
    if (!view || !from || Math.hypot(event.clientX - from[0], event.clientY - from[1]) > 4) {
      return;
    }
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const x = (2 * (event.clientX - box.left)) / box.width - 1;
    const y = 1 - (2 * (event.clientY - box.top)) / box.height;
    onSelect(view.pick(x, y, 2 * PICK_RADIUS_PIXELS * devicePixelRatio));
  };
  const press = (event: KeyboardEvent): void => {
    const acts: Record<string, () => void> = {
      ArrowLeft: () => view?.orbit(-TURN, 0),
      ArrowRight: () => view?.orbit(TURN, 0),
      ArrowUp: () => view?.orbit(0, -TURN),
      ArrowDown: () => view?.orbit(0, TURN),
      "+": () => view?.zoom(0.9),
      "-": () => view?.zoom(1.1),
      " ": () => player.toggle(),
      ",": () => player.step(-1),
      ".": () => player.step(1),
      n: () => onPick(1),
      p: () => onPick(-1),
      Escape: () => onSelect(-1),
    };
    const act = acts[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  };
  if (isUnsupported) {
    return (
      <Notice tone="problem">
        The lattice needs WebGL, which this browser does not offer. Use another browser, or read the
        records below.
      </Notice>
    );
  }
  return (
    <div class="lattice-frame" ref={attach}>
      <canvas
        ref={canvas}
        tabIndex={0}
        role="img"
        aria-label={`${title}. Drag or use the arrow keys to turn, plus and minus to zoom, space to play, comma and full stop to step, n and p to select flows.`}
        onPointerDown={(event) => {
          pressed.current = [event.clientX, event.clientY];
        }}
        onPointerUp={release}
        onKeyDown={press}
      />
      <div ref={labels} aria-hidden="true">
        {(Object.keys(NAMES) as Label["name"][]).map((name) => (
          <span key={name} class="lattice-label" data-label={name}>
            {NAMES[name]}
          </span>
        ))}
      </div>
      <output ref={figures} class="lattice-figures" />
    </div>
  );
}
