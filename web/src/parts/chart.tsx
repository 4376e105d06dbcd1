import type { ComponentChildren } from "preact";
import { type Axis, labelTicks } from "./axis";
import { useSize } from "./hooks";

/** The area in which a chart draws, in pixels. */
export interface PlotArea {
  x: (value: number) => number;
  y: (value: number) => number;
  top: number;
  bottom: number;
}

interface ChartProps {
  title: string;
  /** What the chart shows, for screen readers. */
  description: string;
  /** Name of the series of points that the arrow keys move along. */
  label: string;
  x: Axis;
  y: Axis;
  /** Name of the x axis. */
  xName?: string;
  height?: number;
  /** Called with the position of the pointer, in pixels. */
  onPoint: (x: number, y: number, plane: PlotArea) => void;
  onMove: (direction: -1 | 1) => void;
  onLeave: () => void;
  marks: (plane: PlotArea) => ComponentChildren;
  /** Content below the picture. */
  children: ComponentChildren;
}

const HEIGHT = 190;
const MARGIN = { top: 10, right: 12, bottom: 26, left: 64 };
/** Width of a digit of a label, at most. */
const DIGIT = 7.2;
const NAME_HEIGHT = 18;

/** A chart with axes, read with the pointer or the arrow keys. */
export function Chart(props: ChartProps) {
  const {
    title,
    description,
    label,
    x,
    y,
    xName,
    height = HEIGHT,
    onPoint,
    onMove,
    onLeave,
  } = props;
  const [attach, size] = useSize();
  const width = Math.max(size.width, 200);
  const yLabels = labelTicks(y, Math.round(height / 48));
  const xLabels = labelTicks(x, width / 80);
  const widest = (labels: [number, string][]) =>
    Math.max(0, ...labels.map(([, text]) => text.length)) * DIGIT;
  const left = Math.min(Math.max(MARGIN.left, widest(yLabels) + 12), width / 2);
  const right = width - Math.max(MARGIN.right, widest(xLabels) / 2 + 2);
  const bottom = height - MARGIN.bottom - (xName === undefined ? 0 : NAME_HEIGHT);
  const plane: PlotArea = {
    x: (value) => left + x.fractionOf(value) * (right - left),
    y: (value) => bottom - y.fractionOf(value) * (bottom - MARGIN.top),
    top: MARGIN.top,
    bottom,
  };
  const point = (event: PointerEvent): void => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    onPoint(event.clientX - box.left, event.clientY - box.top, plane);
  };
  const press = (event: KeyboardEvent): void => {
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (direction) {
      event.preventDefault();
      onMove(direction as -1 | 1);
    }
  };
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div
        ref={attach}
        class="chart-frame"
        style={{ minHeight: `${height}px` }}
        role="group"
        aria-label={label}
        tabIndex={0}
        onKeyDown={press}
        onBlur={onLeave}
      >
        <svg
          width={width}
          height={height}
          role="img"
          aria-label={description}
          onPointerMove={point}
          onPointerDown={point}
          onPointerLeave={onLeave}
        >
          {yLabels.map(([value, text]) => (
            <g key={value} class="chart-grid">
              <line x1={left} x2={right} y1={plane.y(value)} y2={plane.y(value)} />
              <text x={left - 8} y={plane.y(value)} dy="0.32em" text-anchor="end">
                {text}
              </text>
            </g>
          ))}
          {xLabels.map(([value, text]) => (
            <text
              key={value}
              class="chart-step"
              x={plane.x(value)}
              y={bottom + 18}
              text-anchor="middle"
            >
              {text}
            </text>
          ))}
          {xName !== undefined && (
            <text x={(left + right) / 2} y={height - 6} text-anchor="middle">
              {xName}
            </text>
          )}
          {props.marks(plane)}
        </svg>
      </div>
      {props.children}
    </figure>
  );
}
