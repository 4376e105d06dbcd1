import { useRef, useState } from "preact/hooks";
import { newKey } from "../api/http";
import { modelPath } from "../api/models";
import type { Model } from "../api/types";
import { Download } from "../parts/download";
import { useActions } from "../parts/hooks";
import { Notice } from "../parts/notice";
import { linkTo } from "../route";
import { DEFAULT_ROWS, runSample } from "./run_sample";

/** Run the first sample rows of a model, and open the run. */
export function SampleForm({ model }: { model: Model }) {
  const [count, setCount] = useState(DEFAULT_ROWS);
  const [sending, setSending] = useState(false);
  const { failure, act } = useActions();
  const key = useRef(newKey());
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    setSending(true);
    await act(runSample(model.name, count, `${key.current}-${count}`));
    setSending(false);
  };
  return (
    <section class="panel">
      <h2>Try it</h2>
      <p class="quiet">
        Energy Flow has rows to try this model with; the model was not trained on them.
      </p>
      <form class="toolbar" onSubmit={(event) => void submit(event)} noValidate>
        <label>
          rows
          <input
            type="number"
            min={1}
            value={count}
            onInput={(event) => setCount(Math.max(1, event.currentTarget.valueAsNumber || 1))}
          />
        </label>
        <button class="button-main" type="submit" disabled={sending}>
          {sending ? "Sending…" : "Run"}
        </button>
        <a class="button" href={linkTo(["try"], { model: model.name })}>
          More options
        </a>
        <Download
          path={`${modelPath(model.name)}/sample?format=safetensors`}
          file={`${model.name}_sample.safetensors`}
          of={`of ${model.name}`}
        >
          Download the rows
        </Download>
      </form>
      {failure !== null && <Notice tone="problem">{failure}</Notice>}
    </section>
  );
}
