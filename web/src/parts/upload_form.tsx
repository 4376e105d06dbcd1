import { useEffect, useRef, useState } from "preact/hooks";
import { explain, isAbort } from "../api/http";
import { getSystem } from "../api/runs";
import { formatBytes } from "../text/numbers";
import { useLoad } from "./hooks";
import { Notice } from "./notice";

interface UploadFormProps {
  /** What is uploaded, for example "dataset". */
  what: string;
  /** Suffixes of files, separated by commas. */
  accept: string;
  /** Label of the file field. */
  children: string;
  /** Whether the file can have several columns to choose from. */
  hasColumn?: boolean;
  send: (name: string, file: File, signal: AbortSignal, column: string) => Promise<unknown>;
  onDone: (name: string) => void;
}

/** Choose a file and a name for it, and send it. */
export function UploadForm({ what, accept, children, hasColumn, send, onDone }: UploadFormProps) {
  const [file, setFile] = useState<File | null>(null);
  const [name, setName] = useState("");
  const [column, setColumn] = useState("");
  const [sending, setSending] = useState<AbortController | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const input = useRef<HTMLInputElement>(null);
  const most = useLoad(getSystem, []).value?.limits.max_upload_bytes ?? Infinity;
  const tooLarge = file !== null && file.size > most;
  useEffect(() => () => sending?.abort(), [sending]);

  const upload = async (): Promise<void> => {
    if (file === null) {
      return;
    }
    const controller = new AbortController();
    setSending(controller);
    setFailure(null);
    try {
      await send(name.trim(), file, controller.signal, column.trim());
      if (input.current) {
        input.current.value = "";
      }
      setFile(null);
      setName("");
      onDone(name.trim());
    } catch (error) {
      setFailure(isAbort(error) ? null : explain(error));
    } finally {
      setSending(null);
    }
  };
  return (
    <div class="upload">
      <label>
        {children}
        <input
          ref={input}
          type="file"
          accept={accept}
          onChange={(event) => {
            const chosen = event.currentTarget.files?.[0] ?? null;
            setFile(chosen);
            setFailure(null);
            if (chosen) {
              setName(nameFrom(chosen.name));
            }
          }}
        />
      </label>
      <label>
        name of the {what}
        <input
          autocomplete="off"
          spellcheck={false}
          value={name}
          onInput={(event) => setName(event.currentTarget.value)}
        />
      </label>
      {hasColumn && <ColumnField value={column} onChange={setColumn} />}
      <button
        type="button"
        disabled={file === null || tooLarge || name.trim() === "" || sending !== null}
        onClick={() => void upload()}
      >
        Upload
      </button>
      {sending !== null && (
        <span class="progress" role="status">
          <progress aria-label={`Uploading ${name}`} />
          {formatBytes(file?.size)}
          <button type="button" onClick={() => sending.abort()}>
            Stop
          </button>
        </span>
      )}
      {tooLarge && (
        <Notice tone="problem">
          The file has {formatBytes(file.size)}; the server accepts at most {formatBytes(most)}.
        </Notice>
      )}
      {failure !== null && <Notice tone="problem">{failure}</Notice>}
    </div>
  );
}

interface ColumnFieldProps {
  value: string;
  onChange: (value: string) => void;
}

/** The column of the embeddings in a file. */
export function ColumnField({ value, onChange }: ColumnFieldProps) {
  return (
    <label>
      column, if several could be
      <input
        autocomplete="off"
        spellcheck={false}
        value={value}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
    </label>
  );
}

/** Return a valid name from that of a file: letters, digits, dots and dashes, at most 64. */
export function nameFrom(file: string): string {
  return file
    .replace(/\.gz$/i, "")
    .replace(/\.[^.]*$/, "")
    .replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "")
    .slice(0, 64);
}
