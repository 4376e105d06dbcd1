import { useEffect, useRef } from "preact/hooks";
import type { PlanePicture } from "../lattice/view";

/** A small picture of a plane: x to the right and y upwards. */
export function PlaneThumbnail({ name, picture }: { name: string; picture: PlanePicture }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { width, height, colours } = picture;
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) {
      return;
    }
    const image = context.createImageData(width, height);
    for (let row = 0; row < height; row++) {
      const line = colours.subarray(4 * row * width, 4 * (row + 1) * width);
      image.data.set(line, 4 * (height - 1 - row) * width);
    }
    context.putImageData(image, 0, 0);
  }, [width, height, colours]);
  return (
    <figure class="plane-thumbnail">
      <canvas
        ref={canvas}
        width={width}
        height={height}
        role="img"
        aria-label={`energies of ${name}`}
        style={{ aspectRatio: `${width} / ${height}` }}
      />
      <figcaption aria-hidden="true">{name}</figcaption>
    </figure>
  );
}
