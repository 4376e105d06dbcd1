import { getRun } from "../api/runs";
import { useLoad, useTitle } from "../parts/hooks";
import { Notice, Waiting } from "../parts/notice";
import { SamplePicker } from "../parts/sample_picker";
import { TraceOf } from "../parts/trace_of";
import { address, type Route } from "../route";
import { shortId } from "../text/numbers";

/** The trace of a run by itself. */
export function TracePage({ runId, route }: { runId: string; route: Route }) {
  useTitle(`Trace of run ${shortId(runId)}`);
  const { value: run, failure } = useLoad((signal) => getRun(runId, signal), [runId]);
  const sample = Number(route.values.get("sample") ?? 0);
  return (
    <>
      <div class="page-head page-head-tight">
        <div>
          <p class="crumb">
            <a href={address(["runs", runId], { sample })}>Run {shortId(runId)}</a>
          </p>
          <h1>Trace of sample {sample}</h1>
        </div>
        {run && <SamplePicker samples={run.progress.samples} sample={sample} />}
      </div>
      {failure !== null && <Notice tone="problem">{failure}</Notice>}
      {run === null && failure === null && <Waiting what="Loading the run" />}
      {run && (
        <section class="panel" aria-label="Trace">
          <TraceOf run={run} sample={sample} />
        </section>
      )}
    </>
  );
}
