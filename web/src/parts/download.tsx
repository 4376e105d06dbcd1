import { useState } from "preact/hooks";
import { addressOf, explain, request } from "../api/http";
import { storedKey } from "../api/key";

interface DownloadProps {
  /** Path of the server. */
  path: string;
  /** Name of the file. */
  file: string;
  /** The resource that the file belongs to, for screen readers. */
  of?: string;
  /** More about the file. */
  title?: string;
  children: string;
}

/** A link to a file. A link cannot send an API key, so with a key the file is fetched first. */
export function Download({ path, file, of, title, children }: DownloadProps) {
  const [failure, setFailure] = useState<string | null>(null);
  const fetchIt = async (event: Event): Promise<void> => {
    if (storedKey() === null) {
      return;
    }
    event.preventDefault();
    try {
      const response = await request(path);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await response.blob());
      link.download = file;
      link.click();
      URL.revokeObjectURL(link.href);
      setFailure(null);
    } catch (error) {
      setFailure(explain(error));
    }
  };
  return (
    <>
      <a
        class="button"
        href={addressOf(path)}
        download={file}
        title={title}
        aria-label={of && `${children} ${of}`}
        onClick={(event) => void fetchIt(event)}
      >
        {children}
      </a>
      {failure !== null && <span role="alert">{failure}</span>}
    </>
  );
}
