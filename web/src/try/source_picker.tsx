import { useEffect, useState } from "preact/hooks";
import { getSample } from "../api/models";
import { DATASET_FILES, DATASET_SUFFIXES } from "../api/datasets";
import type { NumberArray } from "../api/npy";
import { useLoad } from "../parts/hooks";
import { Notice } from "../parts/notice";
import { ColumnField } from "../parts/upload_form";
import {
  describeRows,
  type Embeddings,
  drawRows,
  readFile,
  readText,
  takeRows,
} from "./embeddings";
import type SampleFile from "./sample.json";

type Source = "sample" | "model" | "random" | "paste" | "upload";

interface SourcePickerProps {
  /** Length of the rows that the model takes; null while it is unknown. */
  dimension: number | null;
  /** The model, if it has a sample of its own; else null. */
  sampled: string | null;
  onEmbeddings: (embeddings: Embeddings | null) => void;
  errors: string[];
}

type Sample = typeof SampleFile;

/** Choose where the embeddings come from. */
export function SourcePicker({ dimension, sampled, onEmbeddings, errors }: SourcePickerProps) {
  const [chosen, setChosen] = useState<Source | null>(null);
  const [sample, setSample] = useState<Sample | null>(null);
  const [selected, setSelected] = useState<number[]>([0, 1, 2, 3]);
  const [rows, setRows] = useState(2);
  const [text, setText] = useState("");
  const [file, setFile] = useState<File | null>(null);
  const [column, setColumn] = useState("");
  const [status, setStatus] = useState<{ text: string; isError: boolean } | null>(null);

  useEffect(() => {
    import("./sample.json").then((module) => setSample(module.default)).catch(() => {});
  }, []);
  const own = useLoad(
    async (signal) => sampled && { model: sampled, array: await getSample(sampled, signal) },
    [sampled],
  );
  // While the sample of another model is loading, the array is that of the old one.
  const ownRows = own.value && own.value.model === sampled ? own.value.array : null;
  const fits = sample !== null && dimension === sample.dimension;
  const isOther = dimension !== null && sample !== null && !fits;
  const usual = isOther ? (sampled === null ? "random" : "model") : "sample";
  const source = chosen === null || (chosen === "model" && sampled === null) ? usual : chosen;

  useEffect(() => {
    let current = true;
    const bundled = fits ? sample : null;
    readSource({ source, sample: bundled, ownRows, selected, rows, dimension, text, file, column })
      .then((embeddings) => {
        if (current) {
          onEmbeddings(embeddings);
          setStatus(embeddings && { text: embeddings.summary, isError: false });
        }
      })
      .catch((error: unknown) => {
        if (current) {
          onEmbeddings(null);
          setStatus({ text: (error as Error).message, isError: true });
        }
      });
    return () => {
      current = false;
    };
  }, [source, fits, sample, ownRows, selected, rows, dimension, text, file, column, onEmbeddings]);

  const radio = (value: Source, label: string, disabled = false) => (
    <label class="tab">
      <input
        type="radio"
        name="source"
        value={value}
        checked={source === value}
        disabled={disabled}
        onChange={() => setChosen(value)}
      />
      <span>{label}</span>
    </label>
  );
  const messages = [...(status?.isError ? [status.text] : []), ...errors];
  return (
    <fieldset class="panel" aria-describedby="embeddings-message">
      <legend>Embeddings</legend>
      <div class="tabs">
        {radio("sample", "Bundled sample", isOther)}
        {sampled !== null && radio("model", `Sample of ${sampled}`)}
        {radio("random", "Random vectors")}
        {radio("paste", "Paste")}
        {radio("upload", "Upload")}
      </div>
      {isOther && (
        <p class="quiet">
          The bundled sample has rows of {sample.dimension} numbers. This model takes rows of{" "}
          {dimension}.
        </p>
      )}
      {source === "sample" && fits && sample && (
        <SampleRows sample={sample} selected={selected} onSelected={setSelected} />
      )}
      {source === "model" && own.failure !== null && <Notice tone="problem">{own.failure}</Notice>}
      {(source === "random" || source === "model") && (
        <>
          <label class="row">
            rows
            <input
              type="number"
              min={1}
              max={1000}
              value={rows}
              onInput={(event) =>
                setRows(Math.max(1, Math.min(1000, event.currentTarget.valueAsNumber || 1)))
              }
            />
          </label>
          <p class="quiet">
            {source === "random"
              ? "Random directions of length 1, made by this browser. They have no meaning; they show how a run works."
              : "The first rows of the sample of this model, by which it was not trained."}
          </p>
        </>
      )}
      {source === "paste" && (
        <label>
          JSON: a list of rows of {dimension ?? "…"} numbers, or JSON Lines
          <textarea
            rows={6}
            spellcheck={false}
            value={text}
            placeholder="[[0.01, -0.02, …], …]"
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
      )}
      {source === "upload" && <ColumnField value={column} onChange={setColumn} />}
      {source === "upload" && (
        <label>
          {`Rows of numbers: .json, ${DATASET_SUFFIXES.join(", ")}`}
          <input
            type="file"
            accept={`${DATASET_FILES},.json`}
            onChange={(event) => setFile(event.currentTarget.files?.[0] ?? null)}
          />
        </label>
      )}
      <div id="embeddings-message">
        {messages.map((message) => (
          <p key={message} class="field-error" role="alert">
            {message}
          </p>
        ))}
        {status !== null && !status.isError && <p class="quiet">{status.text}</p>}
      </div>
    </fieldset>
  );
}

interface SourceSettings {
  source: Source;
  sample: Sample | null;
  ownRows: NumberArray | null;
  selected: number[];
  rows: number;
  dimension: number | null;
  text: string;
  file: File | null;
  column: string;
}

async function readSource(from: SourceSettings): Promise<Embeddings | null> {
  switch (from.source) {
    case "sample": {
      const { sample } = from;
      return sample && from.selected.length
        ? describeRows(
            from.selected.map((row) => sample.rows[row].embedding),
            "from the sample",
          )
        : null;
    }
    case "model":
      return (
        from.ownRows && describeRows(takeRows(from.ownRows, from.rows), "from the model's sample")
      );
    case "random":
      return from.dimension === null
        ? null
        : describeRows(drawRows(from.rows, from.dimension, 1), "drawn at random");
    case "paste":
      return from.text.trim() === "" ? null : describeRows(readText(from.text), "pasted");
    case "upload":
      return from.file && readFile(from.file, from.column.trim());
  }
}

interface SampleRowsProps {
  sample: Sample;
  selected: number[];
  onSelected: (selected: number[]) => void;
}

function SampleRows({ sample, selected, onSelected }: SampleRowsProps) {
  return (
    <>
      <div class="sample-rows">
        {sample.rows.map(({ definition, lemmas }, row) => (
          <label key={definition} class="check">
            <input
              type="checkbox"
              checked={selected.includes(row)}
              onChange={(event) =>
                onSelected(
                  event.currentTarget.checked
                    ? [...selected, row].sort((a, b) => a - b)
                    : selected.filter((other) => other !== row),
                )
              }
            />
            <span>
              {definition} <span class="quiet">({lemmas.split(", ")[0]})</span>
            </span>
          </label>
        ))}
      </div>
      <details class="quiet">
        <summary>{sample.source}</summary>
        {sample.notice.map((line) => (
          <p key={line}>{line}</p>
        ))}
      </details>
    </>
  );
}
