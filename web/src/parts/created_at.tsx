import { formatAge, formatTime } from "../text/numbers";

/** When a resource was created: how long ago, and the exact time as a tooltip. */
export function CreatedAt({ at, now }: { at: string; now: number }) {
  return (
    <time dateTime={at} title={formatTime(at)}>
      {formatAge(at, now)}
    </time>
  );
}
