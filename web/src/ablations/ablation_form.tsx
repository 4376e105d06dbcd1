import { useState } from "preact/hooks";
import { startAblation } from "../api/ablations";
import { DATASET_FILES, listDatasets, uploadDataset } from "../api/datasets";
import { getSampleFile } from "../api/models";
import type { Dataset, Model } from "../api/types";
import { useActions, useLoad } from "../parts/hooks";
import { Notice, Waiting } from "../parts/notice";
import { ALL_ROWS, type RowsEntry, RowsFields, rowsOf } from "../parts/rows_fields";
import { UploadForm } from "../parts/upload_form";
import { formatCount } from "../text/numbers";

interface AblationFormProps {
  model: Model;
  /** Called after a start. */
  onStarted: () => void;
}

/** Choose rows of a dataset, and measure a model on them. */
export function AblationForm({ model, onStarted }: AblationFormProps) {
  const datasets = useLoad((signal) => listDatasets(null, 1000, signal), []);
  const { failure, act } = useActions();
  const [name, setName] = useState<string | null>(null);
  const [rows, setRows] = useState<RowsEntry>(ALL_ROWS);
  const [sending, setSending] = useState(false);
  if (datasets.value === null) {
    return datasets.loading ? (
      <Waiting what="Loading datasets" />
    ) : (
      <Notice tone="problem">{datasets.failure}</Notice>
    );
  }
  const suitable = datasets.value.items.filter((dataset) => suits(dataset, model));
  if (suitable.length === 0) {
    return <Missing model={model} onUploaded={datasets.reload} />;
  }
  const chosen = suitable.find((each) => each.name === name) ?? suitable[0];
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    setSending(true);
    const body = { dataset: chosen.name, rows: rowsOf(rows, chosen.rows) };
    if (await act(startAblation(model.name, body))) {
      onStarted();
    }
    setSending(false);
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <div class="toolbar">
        <label>
          dataset
          <select value={chosen.name} onChange={(event) => setName(event.currentTarget.value)}>
            {suitable.map((each) => (
              <option key={each.name} value={each.name}>
                {each.name} ({formatCount(each.rows)} rows)
              </option>
            ))}
          </select>
        </label>
        <RowsFields rows={rows} onRows={setRows} all={chosen.rows} invalid={false} />
        <button class="button-main" type="submit" disabled={sending}>
          {sending ? "Starting…" : "Start"}
        </button>
      </div>
      {failure !== null && <Notice tone="problem">{failure}</Notice>}
    </form>
  );
}

/** What to do where no dataset suits the model. */
function Missing({ model, onUploaded }: { model: Model; onUploaded: () => void }) {
  const { failure, act } = useActions();
  const [sending, setSending] = useState(false);
  const keepSample = async (): Promise<void> => {
    setSending(true);
    const file = getSampleFile(model.name).then((found) =>
      uploadDataset(`${model.name}-sample`, found),
    );
    if (await act(file)) {
      onUploaded();
    }
    setSending(false);
  };
  return (
    <>
      <Notice tone="hint">
        No dataset has inputs of {formatCount(model.config.embedding_dim)} numbers and targets of{" "}
        {formatCount(model.output_width)}, as this model needs. Upload one: for example a
        .safetensors file with the tensors <code>inputs</code> and <code>targets</code>. Rows that
        the model was not trained on show what it has learned.
      </Notice>
      {model.sample_url !== null && (
        <p>
          <button type="button" disabled={sending} onClick={() => void keepSample()}>
            {sending ? "Storing…" : "Store the rows to try it with as a dataset"}
          </button>
        </p>
      )}
      {failure !== null && <Notice tone="problem">{failure}</Notice>}
      <UploadForm
        what="dataset"
        accept={DATASET_FILES}
        hasColumn
        send={uploadDataset}
        onDone={onUploaded}
      >
        Rows with targets
      </UploadForm>
    </>
  );
}

function suits({ dim, targets_dim }: Dataset, { config, output_width }: Model): boolean {
  return dim === config.embedding_dim && targets_dim === output_width;
}
