/** Settings as they are entered: a line for each, such as `lattice_width = 16`. */

/**
 * Return values by dotted name. A value is JSON, or else the text itself: the server refuses what does
 * not suit. A line without a value has the empty text.
 */
export function parseSettings(text: string): Record<string, unknown> {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return Object.fromEntries(
    lines.map((line) => {
      const [name, ...rest] = line.split("=");
      return [name.trim(), parseValue(rest.join("=").trim())];
    }),
  );
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
