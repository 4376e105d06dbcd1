import { getRun } from "../api/runs";
import { useLoad, useTitle } from "../parts/hooks";
import { Missing, Notice, Waiting } from "../parts/notice";
import { SamplePicker } from "../parts/sample_picker";
import { TracePanel } from "../parts/trace_panel";
import { getWholeNumber, linkTo, type Route } from "../route";
import { shortenId } from "../text/numbers";

/** The trace of a run. */
export function TracePage({ runId, route }: { runId: string; route: Route }) {
  useTitle(`Trace of run ${shortenId(runId)}`);
  const { value: run, failure } = useLoad((signal) => getRun(runId, signal), [runId]);
  const sample = getWholeNumber(route, "sample");
  if (failure !== null && run === null) {
    return <Missing failure={failure} href="#/" back="All runs" />;
  }
  return (
    <>
      <div class="page-head page-head-tight">
        <div>
          <p class="crumb">
            <a href={linkTo(["runs", runId], { sample })}>Run {runId}</a>
          </p>
          <h1>Trace of sample {sample}</h1>
        </div>
        {run && <SamplePicker samples={run.progress.samples} sample={sample} />}
      </div>
      {failure !== null && <Notice tone="problem">{failure}</Notice>}
      {run === null && failure === null && <Waiting what="Loading the run" />}
      {run && (
        <section class="panel" aria-label="Trace">
          <TracePanel run={run} sample={sample} />
        </section>
      )}
    </>
  );
}
