import { useState } from "preact/hooks";
import { DATASET_ENDINGS, uploadDataset } from "../api/datasets";
import type { Dataset } from "../api/experiment_types";
import { FieldComplaints } from "../parts/field_complaints";
import { UploadForm } from "../parts/upload_form";
import { count } from "../text/numbers";

/** Rows as they are entered; empty for all. */
export interface RowsEntry {
  from: string;
  to: string;
}

interface DatasetPickerProps {
  datasets: readonly Dataset[];
  chosen: Dataset | null;
  onChosen: (name: string) => void;
  /** A dataset was added. */
  onUploaded: (name: string) => void;
  rows: RowsEntry;
  onRows: (rows: RowsEntry) => void;
  /** Numbers in a row that the model takes; null while it is not known. */
  dimension: number | null;
  complaints: ReadonlyMap<string, string[]>;
}

/** The dataset that trials read, and which of its rows. */
export function DatasetPicker(props: DatasetPickerProps) {
  const { datasets, chosen, onChosen, onUploaded, rows, onRows, dimension, complaints } = props;
  const [uploading, setUploading] = useState(false);
  const none = datasets.length === 0;
  const upload = uploading || none;
  const tab = (label: string, on: boolean, disabled = false) => (
    <label class="tab">
      <input
        type="radio"
        name="dataset-from"
        checked={upload === on}
        disabled={disabled}
        onChange={() => setUploading(on)}
      />
      <span>{label}</span>
    </label>
  );
  const end = (name: keyof RowsEntry, hint: number | undefined) => (
    <label>
      {name}
      <input
        class="short"
        inputMode="numeric"
        autocomplete="off"
        aria-invalid={complaints.has("rows")}
        placeholder={hint === undefined ? "" : String(hint)}
        value={rows[name]}
        onInput={(event) => onRows({ ...rows, [name]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <fieldset class="panel">
      <legend>Dataset</legend>
      <div class="tabs">
        {tab("One that is there", false, none)}
        {tab("Upload a file", true)}
      </div>
      {upload ? (
        <UploadForm
          what="dataset"
          accept={DATASET_ENDINGS.join(",")}
          send={uploadDataset}
          onDone={(name) => {
            setUploading(false);
            onUploaded(name);
          }}
        >
          Rows of numbers, as .npy, .safetensors, .parquet or .jsonl
        </UploadForm>
      ) : (
        <>
          <div class="toolbar">
            <label>
              dataset
              <select
                value={chosen?.name ?? ""}
                aria-invalid={complaints.has("dataset")}
                onChange={(event) => onChosen(event.currentTarget.value)}
              >
                {datasets.map(({ name, rows: length, dim }) => (
                  <option key={name} value={name}>
                    {name} ({count(length)} × {count(dim)})
                  </option>
                ))}
              </select>
            </label>
            <span class="toolbar rows-entry" role="group" aria-label="Rows">
              <span class="quiet">rows</span>
              {end("from", 0)}
              {end("to", chosen?.rows)}
            </span>
          </div>
          {chosen !== null && dimension !== null && chosen.dim !== dimension && (
            <p class="complaint">
              The model takes rows of {count(dimension)} numbers, and these have {count(chosen.dim)}
              .
            </p>
          )}
          <FieldComplaints words={complaints.get("rows")} />
        </>
      )}
      <FieldComplaints words={complaints.get("dataset")} />
    </fieldset>
  );
}
