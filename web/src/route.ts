/** Where one is in the pages: the part of the address after `#`. */

import { useEffect, useState } from "preact/hooks";

export interface Route {
  /** Parts of the path, for example `["runs", "4f…", "lattice"]`. */
  parts: string[];
  values: URLSearchParams;
}

export function readRoute(hash: string): Route {
  const [path, values = ""] = hash.replace(/^#/, "").split("?");
  return {
    parts: path.split("/").filter(Boolean).map(decodeURIComponent),
    values: new URLSearchParams(values),
  };
}

export function address(
  parts: readonly string[],
  values: Record<string, string | number | null> = {},
): string {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== "");
  const text = new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text && `?${text}`}`;
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => readRoute(location.hash));
  useEffect(() => {
    const changed = () => setRoute(readRoute(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

/** Changes values of the address in place, so that "back" leads to the page before. */
export function setValues(values: Record<string, string | number | null>): void {
  const route = readRoute(location.hash);
  const merged = { ...Object.fromEntries(route.values), ...values };
  history.replaceState(null, "", address(route.parts, merged));
  dispatchEvent(new HashChangeEvent("hashchange"));
}

export function go(hash: string): void {
  location.hash = hash;
}
