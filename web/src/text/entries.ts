/** Values from the texts of fields. A text that cannot be read is sent as it is: the server refuses it. */

/** Return the number, or the text where it is none. */
export function parseNumber(text: string): string | number {
  const value = Number(text);
  return text.trim() === "" || Number.isNaN(value) ? text : value;
}

/** Return the parts between commas or blanks. */
export function splitList(text: string): string[] {
  return text.split(/[\s,;]+/).filter((part) => part !== "");
}

/** A longer range is sent as text. */
const MAX_RANGE_LENGTH = 10_000;

/** Return whole numbers from a list of numbers and ranges, for example `0-4, 10`. */
export function parseWholeNumbers(text: string): (string | number)[] {
  return splitList(text).flatMap((part) => {
    const range = /^(\d+)-(\d+)$/.exec(part);
    if (range === null) {
      return [parseNumber(part)];
    }
    const [first, last] = [Number(range[1]), Number(range[2])];
    const length = last - first + 1;
    return length < 1 || length > MAX_RANGE_LENGTH
      ? [part]
      : Array.from({ length }, (_, index) => first + index);
  });
}
