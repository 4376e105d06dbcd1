import { useEffect, useRef, useState } from "preact/hooks";
import { explain, isAbort } from "../api/http";
import { getRecords } from "../api/runs";
import { KINDS, type Kind, PLANES, REASONS, type Reason, type TraceRecord } from "../api/types";
import { count, number } from "../text/numbers";
import { Notice } from "./notice";

export interface RecordFilter {
  kind: Kind | null;
  reason: Reason | null;
  flow: number | null;
  stepFrom: number | null;
  stepTo: number | null;
}

export const ALL_RECORDS: RecordFilter = {
  kind: null,
  reason: null,
  flow: null,
  stepFrom: null,
  stepTo: null,
};

interface RecordsTableProps {
  runId: string;
  /** The sample whose records are shown; null for those of all. */
  sample: number | null;
  filter: RecordFilter;
  onFilter: (filter: RecordFilter) => void;
  /** What happens when somebody chooses a record. */
  onChoose?: (record: TraceRecord) => void;
  chosen?: number | null;
  /** Flows whose records are shown together with those of the flow in the filter. */
  relatives?: readonly number[];
}

const NONE: readonly number[] = [];

const PAGE = 200;
/** With a filter that the server does not know, so many pages are looked through at once. */
const MOST_PAGES = 25;

interface Found {
  records: TraceRecord[];
  cursor: string | null;
}

/** Records of a trace with their filters, more of them as they are asked for. */
export function RecordsTable(props: RecordsTableProps) {
  const { runId, sample, filter, onFilter, onChoose, chosen, relatives = NONE } = props;
  const [found, setFound] = useState<Found | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const [loading, setLoading] = useState(false);
  const controller = useRef(new AbortController());

  const load = async (before: TraceRecord[], cursor: string | null): Promise<void> => {
    controller.current.abort();
    controller.current = new AbortController();
    const { signal } = controller.current;
    setLoading(true);
    try {
      const more = await findRecords(runId, sample, filter, relatives, cursor, signal);
      setFound({ records: [...before, ...more.records], cursor: more.cursor });
      setFailure(null);
      setLoading(false);
    } catch (error) {
      if (!isAbort(error)) {
        setFailure(explain(error));
        setLoading(false);
      }
    }
  };
  const { kind, reason, flow, stepFrom, stepTo } = filter;
  useEffect(() => {
    // Not on every key that is pressed in a field.
    const timer = setTimeout(() => {
      load([], null).catch(() => {});
    }, 150);
    return () => {
      clearTimeout(timer);
      controller.current.abort();
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps -- `load` reads just these.
  }, [runId, sample, kind, reason, flow, stepFrom, stepTo, relatives]);

  return (
    <div class="records">
      <RecordFilters filter={filter} onFilter={onFilter} />
      {failure !== null && <Notice tone="problem">{failure}</Notice>}
      <div class="table-frame records-frame" tabIndex={0} role="region" aria-label="Trace records">
        <table class="records-table">
          <thead>
            <tr>
              <th scope="col" class="number">
                seq
              </th>
              <th scope="col" class="number">
                step
              </th>
              <th scope="col">kind</th>
              {sample === null && (
                <th scope="col" class="number">
                  sample
                </th>
              )}
              <th scope="col" class="number">
                flow
              </th>
              <th scope="col" class="number">
                parent
              </th>
              <th scope="col">what</th>
              <th scope="col" class="number">
                x
              </th>
              <th scope="col" class="number">
                y
              </th>
              <th scope="col" class="number">
                z
              </th>
              <th scope="col" class="number">
                energy
              </th>
              <th scope="col" class="number">
                length
              </th>
            </tr>
          </thead>
          <tbody>
            {found?.records.map((record) => (
              <tr
                key={`${record.sample}:${record.seq}`}
                class={record.flow === chosen ? "chosen" : ""}
              >
                <td class="number">{record.seq}</td>
                <td class="number">{record.step}</td>
                <td>
                  <span class={`kind kind-${record.kind}`}>{record.kind}</span>
                </td>
                {sample === null && <td class="number">{record.sample}</td>}
                <td class="number">
                  {onChoose ? (
                    <button
                      type="button"
                      class="link"
                      onClick={() => onChoose(record)}
                      aria-label={`Flow ${record.flow} at step ${record.step}`}
                    >
                      {record.flow}
                    </button>
                  ) : (
                    record.flow
                  )}
                </td>
                <td class="number">{record.parent < 0 ? "–" : record.parent}</td>
                <td>{whatHappened(record)}</td>
                {[record.x, record.y, record.z, record.energy, record.length].map(
                  (value, index) => (
                    <td key={index} class="number">
                      {fixed(value)}
                    </td>
                  ),
                )}
              </tr>
            ))}
          </tbody>
        </table>
        {found?.records.length === 0 && !loading && <p class="quiet">No such records.</p>}
      </div>
      <div class="records-foot">
        <output aria-live="polite">
          {loading
            ? "Loading…"
            : found &&
              `${count(found.records.length)} records${found.cursor ? ", and there are more" : ""}`}
        </output>
        {found && found.cursor !== null && (
          <button
            type="button"
            disabled={loading}
            onClick={() => void load(found.records, found.cursor)}
          >
            More
          </button>
        )}
      </div>
    </div>
  );
}

async function findRecords(
  runId: string,
  sample: number | null,
  filter: RecordFilter,
  relatives: readonly number[],
  from: string | null,
  signal: AbortSignal,
): Promise<Found> {
  const records: TraceRecord[] = [];
  let cursor = from;
  for (let page = 0; page < MOST_PAGES; page++) {
    const answer = await getRecords(
      runId,
      {
        kind: filter.reason === null ? filter.kind : "terminate",
        sample,
        flow: filter.flow === null ? null : [filter.flow, ...relatives].join(","),
        step_from: filter.stepFrom,
        step_to: filter.stepTo,
      },
      PAGE,
      cursor,
      signal,
    );
    cursor = answer.cursor;
    records.push(
      ...answer.records.filter(
        (record) =>
          filter.reason === null ||
          (record.kind === "terminate" && REASONS[record.code] === filter.reason),
      ),
    );
    if (cursor === null || records.length >= PAGE) {
      break;
    }
  }
  return { records, cursor };
}

const WALLS: readonly [number, string][] = [
  [1, "x low"],
  [2, "x high"],
  [4, "y low"],
  [8, "y high"],
];

/** What a record's code and plane mean. */
export function whatHappened(record: TraceRecord): string {
  switch (record.kind) {
    case "spawn":
      return record.code === 0 ? "child" : `child ${record.code + 1} of this step`;
    case "reflect":
      return WALLS.filter(([bit]) => record.code & bit)
        .map(([, name]) => name)
        .join(", ");
    case "terminate": {
      const reason = REASONS[record.code] ?? String(record.code);
      return record.plane < 0 ? reason : `${reason} → ${PLANES[record.plane]}`;
    }
  }
}

function fixed(value: number | null): string {
  return value === null ? "–" : value.toFixed(4).replace("-", "−");
}

function RecordFilters({ filter, onFilter }: Pick<RecordsTableProps, "filter" | "onFilter">) {
  const whole = (text: string): number | null => {
    const value = Number.parseInt(text, 10);
    return Number.isInteger(value) && value >= 0 ? value : null;
  };
  const field = (label: string, name: "flow" | "stepFrom" | "stepTo") => (
    <label>
      {label}
      <input
        type="number"
        min={0}
        step={1}
        value={filter[name] ?? ""}
        onInput={(event) => onFilter({ ...filter, [name]: whole(event.currentTarget.value) })}
      />
    </label>
  );
  const active = Object.values(filter).some((value) => value !== null);
  return (
    <fieldset class="filters">
      <legend class="hidden">Filter the records</legend>
      <label>
        kind
        <select
          value={filter.kind ?? ""}
          onChange={(event) => {
            const kind = (event.currentTarget.value || null) as Kind | null;
            onFilter({
              ...filter,
              kind,
              reason: kind === "terminate" ? filter.reason : null,
            });
          }}
        >
          <option value="">all</option>
          {KINDS.map((kind) => (
            <option key={kind}>{kind}</option>
          ))}
        </select>
      </label>
      <label>
        reason
        <select
          value={filter.reason ?? ""}
          onChange={(event) => {
            const reason = (event.currentTarget.value || null) as Reason | null;
            onFilter({ ...filter, reason, kind: reason ? "terminate" : filter.kind });
          }}
        >
          <option value="">all</option>
          {REASONS.map((reason) => (
            <option key={reason}>{reason}</option>
          ))}
        </select>
      </label>
      {field("flow", "flow")}
      {field("from step", "stepFrom")}
      {field("to step", "stepTo")}
      <button type="button" disabled={!active} onClick={() => onFilter(ALL_RECORDS)}>
        Clear
      </button>
    </fieldset>
  );
}

export function recordWords(record: TraceRecord | null): string {
  if (record === null) {
    return "no record";
  }
  return `step ${record.step}, flow ${record.flow}: ${record.kind} (${whatHappened(record)}) at (${fixed(record.x)}, ${fixed(record.y)}, ${fixed(record.z)}), energy ${number(record.energy)}`;
}
