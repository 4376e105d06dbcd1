/** The page that is shown: the part of the address after `#`. */

import { useEffect, useState } from "preact/hooks";

export interface Route {
  /** Parts of the path, for example `["runs", "4f…", "lattice"]`. */
  parts: string[];
  parameters: URLSearchParams;
}

export function readRoute(hash: string): Route {
  const [path, values = ""] = hash.replace(/^#/, "").split("?");
  return {
    parts: path.split("/").filter(Boolean).map(decodePart),
    parameters: new URLSearchParams(values),
  };
}

/** Return a decoded part of an address; an invalid one as it is, so that its page is not found. */
function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Return a parameter that is a whole number of at least 0; `fallback` for anything else. */
export function getWholeNumber(route: Route, name: string, fallback = 0): number {
  const text = route.parameters.get(name) ?? "";
  return /^\d{1,9}$/.test(text) ? Number(text) : fallback;
}

export function linkTo(
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
    // The address may have changed since the first rendering.
    changed();
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

/** Change parameters of the address in place, so that "back" leads to the page before. */
export function setParameters(values: Record<string, string | number | null>): void {
  const route = readRoute(location.hash);
  const merged = { ...Object.fromEntries(route.parameters), ...values };
  history.replaceState(null, "", linkTo(route.parts, merged));
  dispatchEvent(new HashChangeEvent("hashchange"));
}

export function navigate(hash: string): void {
  location.hash = hash;
}
