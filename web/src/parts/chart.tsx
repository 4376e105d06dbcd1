import type { ComponentChildren } from "preact";
import type { Axis } from "./axis";
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
  const right = width - MARGIN.right;
  const bottom = height - MARGIN.bottom - (xName === undefined ? 0 : NAME_HEIGHT);
  const plane: PlotArea = {
    x: (value) => MARGIN.left + x.fractionOf(value) * (right - MARGIN.left),
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
          {y.ticks(Math.round(height / 48)).map((value) => (
            <g key={value} class="chart-grid">
              <line x1={MARGIN.left} x2={right} y1={plane.y(value)} y2={plane.y(value)} />
              <text x={MARGIN.left - 8} y={plane.y(value)} dy="0.32em" text-anchor="end">
                {y.label(value)}
              </text>
            </g>
          ))}
          {x.ticks(width / 80).map((value) => (
            <text
              key={value}
              class="chart-step"
              x={plane.x(value)}
              y={bottom + 18}
              text-anchor="middle"
            >
              {x.label(value)}
            </text>
          ))}
          {xName !== undefined && (
            <text x={(MARGIN.left + right) / 2} y={height - 6} text-anchor="middle">
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
