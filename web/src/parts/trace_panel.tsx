import { useState } from "preact/hooks";
import { runPath } from "../api/runs";
import type { Run } from "../api/types";
import { TRACE_FORMATS } from "../generated/choices";
import { formatCount, shortenId } from "../text/numbers";
import { Download } from "./download";
import { Notice } from "./notice";
import { ALL_RECORDS, RecordsTable } from "./records_table";

/** The trace of a run as files, and the records of one sample as a table. */
export function TracePanel({ run, sample }: { run: Run; sample: number }) {
  const runId = run.run_id;
  const [filter, setFilter] = useState(ALL_RECORDS);
  const hasTrace =
    run.trace !== null && Object.values(run.trace.recorded).some((count) => count > 0);
  const dropped =
    run.trace === null ? 0 : Object.values(run.trace.dropped).reduce((all, one) => all + one, 0);
  return (
    <>
      {dropped > 0 && (
        <Notice tone="warning">
          The trace is cut: it lacks {formatCount(dropped)} records of this run, for which there was
          no room. A run with the option trace.keep lossless keeps all.
        </Notice>
      )}
      <div class="downloads">
        <span>Download</span>
        {Object.entries(TRACE_FORMATS).map(([format, { suffixes, description }]) => (
          <Download
            key={format}
            path={`${runPath(runId)}/trace?format=${format}`}
            file={`trace-${shortenId(runId)}${suffixes[0]}`}
            title={description}
          >
            {format}
          </Download>
        ))}
      </div>
      {hasTrace ? (
        <RecordsTable runId={runId} sample={sample} filter={filter} onFilter={setFilter} />
      ) : (
        <p class="quiet">This run has no trace records.</p>
      )}
    </>
  );
}
