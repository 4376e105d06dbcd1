/** Paths of flows, read by a worker. */

import type { FlowPaths } from "./flow_paths";
import type { Agreement, WorkerRequest, WorkerReply } from "./worker";

/** @throws Error the replay cannot be read. */
export function loadFlowPaths(
  request: WorkerRequest,
  signal: AbortSignal,
): Promise<{ paths: FlowPaths; agreement: Agreement | null }> {
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
    worker.onmessage = (event: MessageEvent<WorkerReply>) => {
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
      request,
      request.kind === "replay" ? [request.answer, request.reflections] : [],
    );
  });
}
