import { ago, moment } from "../text/numbers";

/** When something was made, in words, and exactly where one asks. */
export function Made({ at, now }: { at: string; now: number }) {
  return (
    <time dateTime={at} title={moment(at)}>
      {ago(at, now)}
    </time>
  );
}
