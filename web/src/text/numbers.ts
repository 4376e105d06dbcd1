/** Numbers, sizes and times as text. */

const COUNT = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function formatCount(value: number): string {
  return COUNT.format(value);
}

/** Return a number of things, such as "1 step" and "2 steps". */
export function formatCounted(count: number, thing: string): string {
  return `${formatCount(count)} ${thing}${count === 1 ? "" : "s"}`;
}

export function formatCompact(value: number): string {
  return withMinus(Math.abs(value) < 10_000 ? COUNT.format(round(value, 4)) : SHORT.format(value));
}

/** Return a number with some significant digits, or a dash where there is none. */
export function formatNumber(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined || !Number.isFinite(value)) {
    return "–";
  }
  if (Number.isInteger(value)) {
    return withMinus(COUNT.format(value));
  }
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e7) {
    return withMinus(value.toExponential(digits - 1).replace("e+", "e"));
  }
  return withMinus(new Intl.NumberFormat("en", { maximumSignificantDigits: digits }).format(value));
}

/** Return a number with a fixed number of decimals, or a dash where there is none. */
export function formatFixed(value: number | null, decimals: number): string {
  return value === null ? "–" : withMinus(value.toFixed(decimals));
}

/** Return the text of a number with minus signs in place of hyphens. */
function withMinus(text: string): string {
  return text.replaceAll("-", "−");
}

function round(value: number, digits: number): number {
  return Number(value.toPrecision(digits));
}

export function formatPercent(share: number): string {
  return `${formatNumber(100 * share, 3)} %`;
}

export function formatBytes(value: number | null | undefined): string {
  if (value === null || value === undefined) {
    return "–";
  }
  let size = value;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (size < 1024) {
      return `${formatNumber(size, 3)} ${unit}`;
    }
    size /= 1024;
  }
  return `${formatNumber(size, 3)} TiB`;
}

export function formatMilliseconds(value: number | null | undefined): string {
  if (value === null || value === undefined) {
    return "–";
  }
  if (value < 1000) {
    return `${formatNumber(value, 3)} ms`;
  }
  const seconds = value / 1000;
  if (seconds < 60) {
    return `${formatNumber(seconds, 3)} s`;
  }
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${Math.round(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Return "3 min ago" for times of the last day, and a date for earlier ones. */
export function formatAge(iso: string, now: number): string {
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000);
  if (seconds < 10) {
    return "just now";
  }
  if (seconds < 60) {
    return `${Math.floor(seconds / 10) * 10} s ago`;
  }
  if (seconds < 3600) {
    return `${Math.floor(seconds / 60)} min ago`;
  }
  if (seconds < 86_400) {
    return `${Math.floor(seconds / 3600)} h ago`;
  }
  return new Date(iso).toLocaleDateString("en-GB", { dateStyle: "medium" });
}

export function formatTime(iso: string | null): string {
  return iso === null
    ? "–"
    : new Date(iso).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

/** Return the version of the program that computed something, and the number of its arithmetic. */
export function formatVersion(version: string | null, arithmetic: number): string {
  return `${version ?? "not known"}, arithmetic ${arithmetic}`;
}

export function shortenId(runId: string): string {
  return runId.slice(0, 8);
}

/** Return round numbers that divide a range into about `parts`. */
export function ticks(low: number, high: number, parts: number): number[] {
  if (!(high > low)) {
    return [low];
  }
  const rough = (high - low) / parts;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? rough;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => {
    return Number(((first + index) * step).toPrecision(12));
  });
}

/** Return about `parts` round numbers along a logarithmic axis; both ends are above 0. */
export function logTicks(low: number, high: number, parts: number): number[] {
  const first = Math.floor(Math.log10(low));
  const powers = Math.ceil(Math.log10(high)) - first + 1;
  const within = (factors: readonly number[]): number[] =>
    Array.from({ length: powers }, (_, index) =>
      factors.map((factor) => Number((factor * 10 ** (first + index)).toPrecision(12))),
    )
      .flat()
      .filter((value) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9));
  const fine = within([1, 2, 5]);
  if (fine.length < 2) {
    return ticks(low, high, parts);
  }
  const found = fine.length <= parts ? fine : within([1]);
  const stride = Math.ceil(found.length / Math.max(parts, 1));
  return found.filter((_, index) => index % stride === 0);
}

/** Return a duration, rounded so that the text changes seldom. */
export function formatTimeLeft(seconds: number | null): string {
  if (seconds === null) {
    return "–";
  }
  if (seconds < 60) {
    return `${Math.max(1, Math.ceil(seconds))} s`;
  }
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
