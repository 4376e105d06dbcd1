import { useEffect, useRef, useState } from "preact/hooks";
import { findExtent, scaleIndex, viridis } from "../colour";
import { formatNumber } from "../text/numbers";
import { ColourBar } from "./colour_bar";

export interface Cell {
  x: number;
  y: number;
}

interface HeatMapProps {
  /** At index y · width + x. */
  values: ArrayLike<number>;
  width: number;
  height: number;
  /** Name of the values, for example "energy". */
  quantity: string;
  /** What the picture shows. */
  title: string;
  scale?: Uint8Array;
  /** Ends of the scale; by default the smallest and the largest value. */
  range?: [number, number];
  /** Whether a cell is not reached and has no value. */
  empty?: (index: number) => boolean;
  /** Whether all values are 1, so that the picture has no colour bar. */
  plain?: boolean;
  /** Further text about a cell. */
  describe?: (index: number) => string;
  /** The cell that the pointer is at, in this heat map or in one beside it. */
  cell?: Cell | null;
  onCell?: (cell: Cell | null) => void;
}

const STEPS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

/** A surface as a picture: x to the right and y upwards, as the lattice seen from above. */
export function HeatMap(props: HeatMapProps) {
  const { values, width, height, quantity, title, scale = viridis, empty, plain, describe } = props;
  const [own, setOwn] = useState<Cell | null>(null);
  const cell = props.onCell ? (props.cell ?? null) : own;
  const setCell = props.onCell ?? setOwn;
  const canvas = useRef<HTMLCanvasElement>(null);
  const [low, high] = props.range ?? findExtent(values);

  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) {
      return;
    }
    const image = context.createImageData(width, height);
    for (let index = 0; index < width * height; index++) {
      // Empty cells are transparent and show the pattern behind the picture.
      if (!empty?.(index)) {
        const row = height - 1 - Math.floor(index / width);
        const at = 4 * (row * width + (index % width));
        const colour = 3 * scaleIndex(values[index], low, high);
        image.data.set(scale.subarray(colour, colour + 3), at);
        image.data[at + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  }, [values, width, height, low, high, scale, empty]);

  const point = (event: PointerEvent): void => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * width);
    const y = height - 1 - Math.floor(((event.clientY - box.top) / box.height) * height);
    setCell(x >= 0 && x < width && y >= 0 && y < height ? { x, y } : null);
  };
  const step = (event: KeyboardEvent): void => {
    const move = STEPS[event.key];
    if (move) {
      event.preventDefault();
      const from = cell ?? { x: Math.floor(width / 2), y: Math.floor(height / 2) };
      setCell({
        x: Math.max(0, Math.min(width - 1, from.x + move[0])),
        y: Math.max(0, Math.min(height - 1, from.y + move[1])),
      });
    } else if (event.key === "Escape") {
      setCell(null);
    }
  };
  const index = cell ? cell.y * width + cell.x : -1;
  const isEmpty = index >= 0 && empty?.(index) === true;
  return (
    <figure class="heat-map">
      <div
        class="heat-map-frame"
        role="group"
        aria-label={`${title}: cells`}
        tabIndex={0}
        onPointerMove={point}
        onPointerDown={point}
        onPointerLeave={() => setCell(null)}
        onKeyDown={step}
      >
        <canvas
          ref={canvas}
          width={width}
          height={height}
          role="img"
          aria-label={`${title}: ${width} by ${height} cells${plain ? "" : `, ${quantity} from ${formatNumber(low)} to ${formatNumber(high)}`}`}
          style={{ aspectRatio: `${width} / ${height}` }}
        />
        {cell && (
          <span
            class="heat-map-cursor"
            style={{
              left: `${(100 * cell.x) / width}%`,
              bottom: `${(100 * cell.y) / height}%`,
              width: `${100 / width}%`,
              height: `${100 / height}%`,
            }}
          />
        )}
      </div>
      {!plain && (
        <ColourBar
          scale={scale}
          low={low}
          high={high}
          label={quantity}
          mark={index >= 0 && !isEmpty ? values[index] : null}
        />
      )}
      <output class="reading" aria-live="polite">
        {cell ? (
          <>
            <b>
              x {cell.x}, y {cell.y}
            </b>{" "}
            {isEmpty
              ? "not reached by a flow"
              : plain
                ? quantity
                : `${quantity} ${formatNumber(values[index])}`}
            {!isEmpty && describe && <> · {describe(index)}</>}
          </>
        ) : (
          <span class="quiet">Point at a cell to read it.</span>
        )}
      </output>
    </figure>
  );
}
