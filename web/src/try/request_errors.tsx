import { explain, Problem } from "../api/http";
import type { Fault } from "../api/types";
import { Notice } from "../parts/notice";

/** Why the server refused the values of a form. */
export interface Refusal {
  faults: Fault[];
  /** The message, where the server names no fields. */
  failure: string | null;
}

export const NO_REFUSAL: Refusal = { faults: [], failure: null };

export function toRefusal(error: unknown): Refusal {
  return error instanceof Problem && error.errors.length > 0
    ? { faults: error.errors, failure: null }
    : { faults: [], failure: explain(error) };
}

interface RequestErrorsProps {
  refusal: Refusal;
  /** Messages about no field of the form. */
  rest: readonly string[];
}

/** The messages of a refusal that are not shown beside a field. */
export function RequestErrors({ refusal: { faults, failure }, rest }: RequestErrorsProps) {
  return (
    <>
      {faults.length > 0 && (
        <Notice tone="problem">
          {faults.length === 1 ? "1 value is" : `${faults.length} values are`} not valid; see the
          messages at the fields.
        </Notice>
      )}
      {rest.map((message) => (
        <p key={message} class="field-error">
          {message}
        </p>
      ))}
      {failure !== null && <Notice tone="problem">{failure}</Notice>}
    </>
  );
}
