import { useState } from "preact/hooks";
import { explain, request } from "../api/http";
import { storedKey } from "../api/key";

interface DownloadProps {
  href: string;
  /** Name of the file. */
  file: string;
  /** Whose file it is, where the words alone do not tell. */
  of?: string;
  children: string;
}

/** A link to a file. With an API key, which links cannot carry, it is fetched and handed over. */
export function Download({ href, file, of, children }: DownloadProps) {
  const [failure, setFailure] = useState<string | null>(null);
  const fetchIt = async (event: Event): Promise<void> => {
    if (storedKey() === null) {
      return;
    }
    event.preventDefault();
    try {
      const response = await request(href);
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
        href={href}
        download={file}
        aria-label={of && `${children} ${of}`}
        onClick={(event) => void fetchIt(event)}
      >
        {children}
      </a>
      {failure !== null && <span role="alert">{failure}</span>}
    </>
  );
}
