/** Colour scales, as tables of 256 RGB colours. */

/** Matplotlib's viridis at 21 even positions: equal steps look equal, also in grey. */
const VIRIDIS = [
  0x440154, 0x481467, 0x482576, 0x463480, 0x414487, 0x3b528b, 0x355f8d, 0x2f6c8e, 0x2a788e,
  0x25848e, 0x21918c, 0x1e9c89, 0x22a884, 0x2fb47c, 0x44bf70, 0x5ec962, 0x7ad151, 0x9bd93c,
  0xbddf26, 0xdfe318, 0xfde725,
];

/** Blue, grey, orange: signed differences around 0. */
const SIGNED = [0x0a4fa3, 0x3f86cf, 0x8db8dc, 0xb9c0c7, 0xe0a973, 0xd0702c, 0x9c3d0a];

export const viridis = interpolate(VIRIDIS);
export const signed = interpolate(SIGNED);

function interpolate(stops: readonly number[]): Uint8Array {
  const colours = new Uint8Array(256 * 3);
  for (let index = 0; index < 256; index++) {
    const position = (index / 255) * (stops.length - 1);
    const left = Math.min(Math.floor(position), stops.length - 2);
    for (let channel = 0; channel < 3; channel++) {
      const shift = 16 - 8 * channel;
      const low = (stops[left] >> shift) & 255;
      const high = (stops[left + 1] >> shift) & 255;
      colours[3 * index + channel] = Math.round(low + (high - low) * (position - left));
    }
  }
  return colours;
}

/** Return a part of a scale, stretched to a whole scale. */
export function stretchPart(scale: Uint8Array, from: number, to: number): Uint8Array {
  return scale.map((_, index) => {
    const at = Math.round(255 * from + Math.floor(index / 3) * (to - from));
    return scale[3 * at + (index % 3)];
  });
}

/** Return the part of viridis that contrasts with the ground of the pages. */
export function contrastingScale(dark: boolean): Uint8Array {
  return dark ? stretchPart(viridis, 0.3, 1) : stretchPart(viridis, 0, 0.8);
}

/** Return the index of a value on a scale, 0 to 255. */
export function scaleIndex(value: number, low: number, high: number): number {
  if (!(high > low)) {
    return 128;
  }
  return Math.max(0, Math.min(255, Math.round(((value - low) / (high - low)) * 255)));
}

export function toCss(scale: Uint8Array, index: number): string {
  return `rgb(${scale[3 * index]} ${scale[3 * index + 1]} ${scale[3 * index + 2]})`;
}

/** Return the smallest and the largest finite number; 0 and 0 where there is none. */
export function findExtent(values: ArrayLike<number>): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (value < low) {
      low = value;
    }
    if (value > high) {
      high = value;
    }
  }
  return low <= high ? [low, high] : [0, 0];
}
