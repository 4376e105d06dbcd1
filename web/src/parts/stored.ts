/** What a user chose, kept in the browser. */

import { useState } from "preact/hooks";

const PREFIX = "energy-flow-";

/** Return a list of names that is kept in this browser, and a function that changes it. */
export function useStoredNames(item: string): [readonly string[], (names: string[]) => void] {
  const [names, setNames] = useState<readonly string[]>(() => readNames(item));
  const change = (changed: string[]): void => {
    setNames(changed);
    localStorage.setItem(PREFIX + item, JSON.stringify(changed));
  };
  return [names, change];
}

function readNames(item: string): string[] {
  try {
    const kept = JSON.parse(localStorage.getItem(PREFIX + item) ?? "[]") as unknown;
    return Array.isArray(kept) ? kept.filter((name) => typeof name === "string") : [];
  } catch {
    return [];
  }
}
