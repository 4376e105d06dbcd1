/** Arrays as files, for tests. */

/** Return a `.npy` file as NumPy writes it. */
export function npy(
  descr: string,
  shape: number[],
  data: ArrayBufferView,
  version = 1,
): ArrayBuffer {
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }`;
  const start = version === 1 ? 10 : 12;
  const header = text
    .padEnd(Math.ceil((text.length + start + 1) / 64) * 64 - start - 1)
    .concat("\n");
  const bytes = new Uint8Array(start + header.length + data.byteLength);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), version, 0]);
  const view = new DataView(bytes.buffer);
  if (version === 1) {
    view.setUint16(8, header.length, true);
  } else {
    view.setUint32(8, header.length, true);
  }
  bytes.set(new TextEncoder().encode(header), start);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start + header.length);
  return bytes.buffer;
}
