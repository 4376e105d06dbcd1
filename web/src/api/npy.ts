/** Arrays of numbers in NumPy's `.npy` format. */

interface NpyHeader {
  /** NumPy's name of the dtype, for example `<f4`. */
  dtype: string;
  shape: number[];
  fortran: boolean;
  /** First byte of the numbers. */
  offset: number;
}

export interface NumberArray {
  shape: number[];
  /** Booleans are 0 and 1. */
  data: Float32Array | Float64Array | Int32Array | Uint8Array;
}

const MAGIC = "\x93NUMPY";

export function readHeader(buffer: ArrayBuffer): NpyHeader {
  const bytes = new Uint8Array(buffer);
  const magic = String.fromCharCode(...bytes.subarray(0, 6));
  if (magic !== MAGIC || bytes.length < 12) {
    throw new Error("This is not a .npy file; choose another file.");
  }
  const view = new DataView(buffer);
  const wide = bytes[6] > 1;
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const start = wide ? 12 : 10;
  const text = new TextDecoder("latin1").decode(bytes.subarray(start, start + length));
  const dtype = /'descr':\s*'([^']+)'/.exec(text)?.[1];
  const shape = /'shape':\s*\(([^)]*)\)/.exec(text)?.[1];
  if (dtype === undefined || shape === undefined) {
    throw new Error("The header of the .npy file cannot be read; write the file again with NumPy.");
  }
  return {
    dtype,
    shape: shape
      .split(",")
      .filter((part) => part.trim() !== "")
      .map(Number),
    fortran: /'fortran_order':\s*True/.test(text),
    offset: start + length,
  };
}

/** Return the array of a file that the server wrote: float32, float64, int32 or bool, in C order. */
export function readNpy(buffer: ArrayBuffer): NumberArray {
  const header = readHeader(buffer);
  const count = header.shape.reduce((product, length) => product * length, 1);
  const kinds = { "<f4": Float32Array, "<f8": Float64Array, "<i4": Int32Array, "|b1": Uint8Array };
  const kind = kinds[header.dtype as keyof typeof kinds];
  if (kind === undefined || header.fortran) {
    throw new Error(
      `Arrays of dtype ${header.dtype} cannot be shown; download the file and read it with NumPy.`,
    );
  }
  const size = count * kind.BYTES_PER_ELEMENT;
  if (buffer.byteLength < header.offset + size) {
    throw new Error("The .npy file is too short; load it again.");
  }
  // A copy: a typed array must begin at a multiple of its element size.
  const data = new kind(buffer.slice(header.offset, header.offset + size));
  return { shape: header.shape, data };
}
