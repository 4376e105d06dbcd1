import { useState } from "preact/hooks";
import { DATASET_FILES, DATASET_SUFFIXES, uploadDataset } from "../api/datasets";
import type { Dataset } from "../api/types";
import { FieldErrors } from "../parts/field_errors";
import { type RowsEntry, RowsFields } from "../parts/rows_fields";
import { UploadForm } from "../parts/upload_form";
import { formatCount } from "../text/numbers";

interface DatasetPickerProps {
  datasets: readonly Dataset[];
  chosen: Dataset | null;
  onChosen: (name: string) => void;
  /** Called after an upload. */
  onUploaded: (name: string) => void;
  rows: RowsEntry;
  onRows: (rows: RowsEntry) => void;
  /** Length of the rows that the model takes; null while it is unknown. */
  dimension: number | null;
  errors: ReadonlyMap<string, string[]>;
}

/** Choose the dataset that trials read, and its rows. */
export function DatasetPicker(props: DatasetPickerProps) {
  const { datasets, chosen, onChosen, onUploaded, rows, onRows, dimension, errors } = props;
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
  return (
    <fieldset class="panel">
      <legend>Dataset</legend>
      <div class="tabs">
        {tab("Choose a dataset", false, none)}
        {tab("Upload a file", true)}
      </div>
      {upload ? (
        <UploadForm
          what="dataset"
          accept={DATASET_FILES}
          hasColumn
          send={uploadDataset}
          onDone={(name) => {
            setUploading(false);
            onUploaded(name);
          }}
        >
          {`Rows of numbers: ${DATASET_SUFFIXES.join(", ")}`}
        </UploadForm>
      ) : (
        <>
          <div class="toolbar">
            <label>
              dataset
              <select
                value={chosen?.name ?? ""}
                aria-invalid={errors.has("dataset")}
                onChange={(event) => onChosen(event.currentTarget.value)}
              >
                {datasets.map(({ name, rows: length, dim }) => (
                  <option key={name} value={name}>
                    {name} ({formatCount(length)} × {formatCount(dim)})
                  </option>
                ))}
              </select>
            </label>
            <RowsFields
              rows={rows}
              onRows={onRows}
              all={chosen?.rows}
              invalid={errors.has("rows")}
            />
          </div>
          {chosen !== null && dimension !== null && chosen.dim !== dimension && (
            <p class="field-error">
              The model takes rows of {formatCount(dimension)} numbers. The rows of this dataset
              have {formatCount(chosen.dim)}.
            </p>
          )}
          <FieldErrors messages={errors.get("rows")} />
        </>
      )}
      <FieldErrors messages={errors.get("dataset")} />
    </fieldset>
  );
}
