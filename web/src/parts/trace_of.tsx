import { useState } from "preact/hooks";
import { runPath } from "../api/runs";
import type { Run } from "../api/types";
import { shortId } from "../text/numbers";
import { Download } from "./download";
import { ALL_RECORDS, RecordsTable } from "./records_table";

/** Formats of a trace, and the endings of such files. */
const FORMATS: readonly (readonly [string, string])[] = [
  ["parquet", "parquet"],
  ["arrow", "arrow"],
  ["ndjson", "ndjson"],
  ["csv", "csv"],
  ["perfetto", "pftrace"],
];

/** The trace of a run, as files and as a table of one sample's records. */
export function TraceOf({ run, sample }: { run: Run; sample: number }) {
  const runId = run.run_id;
  const [filter, setFilter] = useState(ALL_RECORDS);
  const hasTrace = run.trace !== null && Object.values(run.trace.recorded).some((made) => made > 0);
  return (
    <>
      <div class="downloads">
        <span>Download</span>
        {FORMATS.map(([format, ending]) => (
          <Download
            key={format}
            href={`${runPath(runId)}/trace?format=${format}`}
            file={`trace-${shortId(runId)}.${ending}`}
          >
            {format}
          </Download>
        ))}
      </div>
      {hasTrace ? (
        <RecordsTable runId={runId} sample={sample} filter={filter} onFilter={setFilter} />
      ) : (
        <p class="quiet">This run recorded no trace.</p>
      )}
    </>
  );
}
