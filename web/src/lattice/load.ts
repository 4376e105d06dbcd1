/** Journeys, read by a worker. */

import type { Journey } from "./journey";
import type { Agreement, Question, Reply } from "./worker";

/** @throws Error the answer cannot be read. */
export function readJourney(
  question: Question,
  signal: AbortSignal,
): Promise<{ journey: Journey; agreement: Agreement | null }> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    const end = (): void => {
      worker.terminate();
      signal.removeEventListener("abort", abort);
    };
    const abort = (): void => {
      end();
      reject(new DOMException("no longer needed", "AbortError"));
    };
    signal.addEventListener("abort", abort);
    worker.onmessage = (event: MessageEvent<Reply>) => {
      end();
      if ("error" in event.data) {
        reject(new Error(`The replay cannot be read: ${event.data.error}`));
      } else {
        resolve(event.data);
      }
    };
    worker.onerror = (event) => {
      end();
      reject(new Error(`The replay cannot be read: ${event.message}`));
    };
    worker.postMessage(
      question,
      question.kind === "replay" ? [question.answer, question.reflections] : [],
    );
  });
}
