import { useEffect, useRef, useState } from "preact/hooks";
import { explain, isAbort } from "../api/http";
import { countRecords, getRecords, type TraceFilter } from "../api/runs";
import type { TraceCountsByStep, TraceRecord } from "../api/types";
import {
  PLANES,
  type Reason,
  REASONS,
  TRACE_KINDS,
  type TraceKind,
  WALLS,
} from "../generated/choices";
import { formatCount, formatCounted, formatFixed, formatNumber } from "../text/numbers";
import { useLoad } from "./hooks";
import { Notice } from "./notice";
import { TraceTimeline } from "./trace_timeline";

interface RecordFilter {
  kind: TraceKind | null;
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
  sample: number;
  filter: RecordFilter;
  onFilter: (filter: RecordFilter) => void;
  /** Called when a record is chosen. */
  onChoose?: (record: TraceRecord) => void;
  chosen?: number | null;
  /** Flows whose records are shown with those of the flow in the filter. */
  relatives?: readonly number[];
}

const NONE: readonly number[] = [];

const PAGE = 200;
/** The server does not filter by reason, so up to this many pages are searched at once. */
const MAX_PAGES = 25;

interface Found {
  records: TraceRecord[];
  cursor: string | null;
}

/** Records of a trace with filters; a button loads more. */
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
  // All steps are counted, so that others than the selected ones can be selected.
  const counted = useLoad(
    (signal) => {
      const all = { ...filter, stepFrom: null, stepTo: null };
      return countRecords(runId, askFor(sample, all, relatives), signal);
    },
    [runId, sample, kind, reason, flow, relatives],
  );
  const total = reason === null && counted.value ? sumSteps(counted.value, stepFrom, stepTo) : null;
  useEffect(() => {
    // Wait until no more keys are pressed in a field.
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
      {counted.value && (
        <TraceTimeline
          counts={counted.value.steps}
          from={stepFrom}
          to={stepTo}
          onSelect={(from, to) => onFilter({ ...filter, stepFrom: from, stepTo: to })}
        />
      )}
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
              <th scope="col" class="number">
                flow
              </th>
              <th scope="col" class="number">
                parent
              </th>
              <th scope="col">event</th>
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
              <tr key={record.seq} class={record.flow === chosen ? "chosen" : ""}>
                <td class="number">{record.seq}</td>
                <td class="number">{record.step}</td>
                <td>
                  <span class={`kind kind-${record.kind}`}>{record.kind}</span>
                </td>
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
                <td>{describeEvent(record)}</td>
                {[record.x, record.y, record.z, record.energy, record.length].map(
                  (value, index) => (
                    <td key={index} class="number">
                      {formatPosition(value)}
                    </td>
                  ),
                )}
              </tr>
            ))}
          </tbody>
        </table>
        {found?.records.length === 0 && !loading && (
          <p class="quiet">No record matches the filter.</p>
        )}
      </div>
      <div class="records-foot">
        <output aria-live="polite">
          {loading ? "Loading…" : found && describeCount(found, total)}
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

/** @param total Number of all records that match; null where only some of them are known. */
function describeCount({ records, cursor }: Found, total: number | null): string {
  if (cursor === null) {
    return formatCounted(records.length, "record");
  }
  return total === null
    ? `the first ${formatCounted(records.length, "record")}`
    : `the first ${formatCount(records.length)} of ${formatCounted(total, "record")}`;
}

function sumSteps({ steps }: TraceCountsByStep, from: number | null, to: number | null): number {
  return steps
    .filter(({ step }) => step >= (from ?? 0) && step <= (to ?? Infinity))
    .reduce((sum, step) => sum + step.spawn + step.reflect + step.terminate, 0);
}

/** Return the filter of the server. */
function askFor(sample: number, filter: RecordFilter, relatives: readonly number[]): TraceFilter {
  return {
    kind: filter.reason === null ? filter.kind : "terminate",
    sample,
    flow: filter.flow === null ? null : [filter.flow, ...relatives].join(","),
    step_from: filter.stepFrom,
    step_to: filter.stepTo,
  };
}

async function findRecords(
  runId: string,
  sample: number,
  filter: RecordFilter,
  relatives: readonly number[],
  from: string | null,
  signal: AbortSignal,
): Promise<Found> {
  const records: TraceRecord[] = [];
  let cursor = from;
  for (let page = 0; page < MAX_PAGES; page++) {
    const answer = await getRecords(runId, askFor(sample, filter, relatives), PAGE, cursor, signal);
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

/** Return the meaning of the code and the plane of a record. */
export function describeEvent(record: TraceRecord): string {
  switch (record.kind) {
    case "spawn":
      return record.code === 0 ? "child" : `child ${record.code + 1} of this step`;
    case "reflect":
      return Object.entries(WALLS)
        .filter(([, { bit }]) => record.code & bit)
        .map(([name]) => name.replaceAll("_", " "))
        .join(", ");
    case "terminate": {
      const reason = REASONS[record.code] ?? String(record.code);
      return record.plane < 0 ? reason : `${reason} → ${PLANES[record.plane]}`;
    }
  }
}

function formatPosition(value: number | null): string {
  return formatFixed(value, 4);
}

function RecordFilters({ filter, onFilter }: Pick<RecordsTableProps, "filter" | "onFilter">) {
  const parseWhole = (text: string): number | null => {
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
        onInput={(event) => onFilter({ ...filter, [name]: parseWhole(event.currentTarget.value) })}
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
            const kind = (event.currentTarget.value || null) as TraceKind | null;
            onFilter({
              ...filter,
              kind,
              reason: kind === "terminate" ? filter.reason : null,
            });
          }}
        >
          <option value="">all</option>
          {TRACE_KINDS.map((kind) => (
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

export function describeRecord(record: TraceRecord | null): string {
  if (record === null) {
    return "no record";
  }
  return `step ${record.step}, flow ${record.flow}: ${record.kind} (${describeEvent(record)}) at (${formatPosition(record.x)}, ${formatPosition(record.y)}, ${formatPosition(record.z)}), energy ${formatNumber(record.energy)}`;
}
