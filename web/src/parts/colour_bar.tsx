import { useEffect, useRef } from "preact/hooks";
import { formatNumber } from "../text/numbers";
import { labelTicks, linearAxis } from "./axis";

interface ColourBarProps {
  scale: Uint8Array;
  low: number;
  high: number;
  label: string;
  /** A value that is marked on the bar. */
  mark?: number | null;
  /** About how many labels there are. */
  parts?: number;
}

/** The legend of a colour scale: a bar with round numbers. */
export function ColourBar({ scale, low, high, label, mark = null, parts = 4 }: ColourBarProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) {
      return;
    }
    const image = context.createImageData(256, 1);
    for (let index = 0; index < 256; index++) {
      image.data.set(scale.subarray(3 * index, 3 * index + 3), 4 * index);
      image.data[4 * index + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }, [scale]);
  const share = (value: number) => (high > low ? (100 * (value - low)) / (high - low) : 50);
  const labels = labelTicks(
    linearAxis(low, high, (value) => formatNumber(value, 3)),
    parts,
  );
  return (
    <div class="colour-bar">
      <span class="colour-bar-label">{label}</span>
      <div class="colour-bar-scale">
        <canvas
          ref={canvas}
          width={256}
          height={1}
          role="img"
          aria-label={`Colours of ${label} from ${formatNumber(low)} to ${formatNumber(high)}`}
        />
        {mark !== null && <span class="colour-bar-mark" style={{ left: `${share(mark)}%` }} />}
        <div class="colour-bar-ticks">
          {labels.map(([value, text]) => (
            <span key={value} style={{ left: `${share(value)}%` }}>
              {text}
            </span>
          ))}
        </div>
      </div>
    </div>
  );
}
