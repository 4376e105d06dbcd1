/** Faults for tests. */

import type { Fault } from "../src/api/types";

/** Return a fault at a location of a request. */
export function fault(loc: Fault["loc"], msg: string): Fault {
  return { loc, msg, got: null };
}
