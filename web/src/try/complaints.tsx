import { explain, Problem } from "../api/http";
import type { Fault } from "../api/types";
import { Notice } from "../parts/notice";

/** Why the server would not take what a form holds. */
export interface Refusal {
  faults: Fault[];
  /** In words, where no fields are named. */
  failure: string | null;
}

export const NO_REFUSAL: Refusal = { faults: [], failure: null };

export function refusalOf(error: unknown): Refusal {
  return error instanceof Problem && error.errors.length > 0
    ? { faults: error.errors, failure: null }
    : { faults: [], failure: explain(error) };
}

interface ComplaintsProps {
  refusal: Refusal;
  /** Complaints that belong to no field of the form. */
  rest: readonly string[];
}

/** What is told of a refusal beside the form's fields. */
export function Complaints({ refusal: { faults, failure }, rest }: ComplaintsProps) {
  return (
    <>
      {faults.length > 0 && (
        <Notice tone="problem">
          {faults.length === 1 ? "One thing is wrong" : `${faults.length} things are wrong`}; see
          the fields.
        </Notice>
      )}
      {rest.map((words) => (
        <p key={words} class="complaint">
          {words}
        </p>
      ))}
      {failure !== null && <Notice tone="problem">{failure}</Notice>}
    </>
  );
}
