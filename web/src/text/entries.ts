/** What people type into fields, as the values to send. What cannot be read goes as it is, and the server says so. */

/** A number, or the text. */
export function asNumber(text: string): string | number {
  const value = Number(text);
  return text.trim() === "" || Number.isNaN(value) ? text : value;
}

/** A number, yes or no, or the text. */
export function asValue(text: string): string | number | boolean {
  return text === "true" || text === "false" ? text === "true" : asNumber(text);
}

/** Parts between commas or blanks. */
export function listOf(text: string): string[] {
  return text.split(/[\s,;]+/).filter((part) => part !== "");
}

/** More whole numbers than this are not written out from one range. */
const LONGEST_RANGE = 10_000;

/** Whole numbers and ranges of them, as in `0-4, 10`. */
export function wholeNumbers(text: string): (string | number)[] {
  return listOf(text).flatMap((part) => {
    const range = /^(\d+)-(\d+)$/.exec(part);
    if (range === null) {
      return [asNumber(part)];
    }
    const [first, last] = [Number(range[1]), Number(range[2])];
    const length = last - first + 1;
    return length < 1 || length > LONGEST_RANGE
      ? [part]
      : Array.from({ length }, (_, index) => first + index);
  });
}
