import { useState } from "preact/hooks";

/** An id that is whole, with a button that copies it. */
export function WholeId({ id }: { id: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    // Browsers offer the clipboard to pages of HTTPS and of this machine only.
    await navigator.clipboard?.writeText(id);
    setCopied(true);
  };
  return (
    <span class="whole-id">
      <code class="run-id">{id}</code>
      {"clipboard" in navigator && (
        <button type="button" onClick={() => void copy().catch(() => {})}>
          {isCopied ? "Copied" : "Copy"}
          <span class="hidden"> the id</span>
        </button>
      )}
    </span>
  );
}
