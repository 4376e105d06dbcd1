import { useEffect, useState } from "preact/hooks";
import { describe, type Embeddings, randomRows, readFile, readText } from "./embeddings";
import type SampleFile from "./sample.json";

type Source = "sample" | "random" | "paste" | "upload";

interface SourcePickerProps {
  /** Numbers in a row that the model takes; null while it is not known. */
  dimension: number | null;
  onEmbeddings: (embeddings: Embeddings | null) => void;
  complaints: string[];
}

type Sample = typeof SampleFile;

/** Where the embeddings come from. */
export function SourcePicker({ dimension, onEmbeddings, complaints }: SourcePickerProps) {
  const [chosen, setChosen] = useState<Source | null>(null);
  const [sample, setSample] = useState<Sample | null>(null);
  const [picked, setPicked] = useState<number[]>([0, 1, 2, 3]);
  const [rows, setRows] = useState(2);
  const [text, setText] = useState("");
  const [file, setFile] = useState<File | null>(null);
  const [said, setSaid] = useState<{ words: string; wrong: boolean } | null>(null);

  useEffect(() => {
    import("./sample.json").then((module) => setSample(module.default)).catch(() => {});
  }, []);
  const fits = sample !== null && dimension === sample.dimension;
  const source = chosen ?? (dimension !== null && sample !== null && !fits ? "random" : "sample");

  useEffect(() => {
    let current = true;
    gather({ source, sample: fits ? sample : null, picked, rows, dimension, text, file })
      .then((embeddings) => {
        if (current) {
          onEmbeddings(embeddings);
          setSaid(embeddings && { words: embeddings.words, wrong: false });
        }
      })
      .catch((error: unknown) => {
        if (current) {
          onEmbeddings(null);
          setSaid({ words: (error as Error).message, wrong: true });
        }
      });
    return () => {
      current = false;
    };
  }, [source, fits, sample, picked, rows, dimension, text, file, onEmbeddings]);

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
  const problem = [...(said?.wrong ? [said.words] : []), ...complaints];
  return (
    <fieldset class="panel" aria-describedby="embeddings-said">
      <legend>Embeddings</legend>
      <div class="tabs">
        {radio("sample", "Bundled sample", dimension !== null && sample !== null && !fits)}
        {radio("random", "Random vectors")}
        {radio("paste", "Paste")}
        {radio("upload", "Upload")}
      </div>
      {sample !== null && dimension !== null && !fits && (
        <p class="quiet">
          The sample has rows of {sample.dimension} numbers and this model takes {dimension}.
        </p>
      )}
      {source === "sample" && fits && sample && (
        <SampleRows sample={sample} picked={picked} onPicked={setPicked} />
      )}
      {source === "random" && (
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
            Directions drawn by this browser, of length 1. They mean nothing; they show the
            mechanics.
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
            placeholder="[[0.01, −0.02, …], …]"
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
      )}
      {source === "upload" && (
        <label>
          A .npy, .json or .jsonl file
          <input
            type="file"
            accept=".npy,.json,.jsonl,.ndjson"
            onChange={(event) => setFile(event.currentTarget.files?.[0] ?? null)}
          />
        </label>
      )}
      <div id="embeddings-said">
        {problem.map((words) => (
          <p key={words} class="complaint" role="alert">
            {words}
          </p>
        ))}
        {said !== null && !said.wrong && <p class="quiet">{said.words}</p>}
      </div>
    </fieldset>
  );
}

interface Gathering {
  source: Source;
  sample: Sample | null;
  picked: number[];
  rows: number;
  dimension: number | null;
  text: string;
  file: File | null;
}

async function gather(from: Gathering): Promise<Embeddings | null> {
  switch (from.source) {
    case "sample": {
      const { sample } = from;
      return sample && from.picked.length
        ? describe(
            from.picked.map((row) => sample.rows[row].embedding),
            "from the sample",
          )
        : null;
    }
    case "random":
      return from.dimension === null
        ? null
        : describe(randomRows(from.rows, from.dimension, 1), "drawn at random");
    case "paste":
      return from.text.trim() === "" ? null : describe(readText(from.text), "pasted");
    case "upload":
      return from.file && readFile(from.file);
  }
}

interface SampleRowsProps {
  sample: Sample;
  picked: number[];
  onPicked: (picked: number[]) => void;
}

function SampleRows({ sample, picked, onPicked }: SampleRowsProps) {
  return (
    <>
      <div class="sample-rows">
        {sample.rows.map(({ definition, lemmas }, row) => (
          <label key={definition} class="check">
            <input
              type="checkbox"
              checked={picked.includes(row)}
              onChange={(event) =>
                onPicked(
                  event.currentTarget.checked
                    ? [...picked, row].sort((a, b) => a - b)
                    : picked.filter((other) => other !== row),
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
