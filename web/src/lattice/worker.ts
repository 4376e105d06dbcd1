/** Read a replay in a thread of its own, so that a large one does not block the page. */

import type { Replay, TraceRecord } from "../api/types";
import { createDemoReplay } from "./demo";
import { buildFlowPaths, type FlowPaths, listBuffers } from "./flow_paths";

export type WorkerRequest =
  | { kind: "replay"; answer: ArrayBuffer; reflections: ArrayBuffer; isComplete: boolean }
  | { kind: "demo"; flows: number; steps: number };

/** Whether the replay equals the stored trace, and what the server notes where it need not. */
export type Agreement = Pick<Replay, "agrees" | "difference" | "note">;

export type WorkerReply = { paths: FlowPaths; agreement: Agreement | null } | { error: string };

function answerRequest(request: WorkerRequest): {
  paths: FlowPaths;
  agreement: Agreement | null;
} {
  if (request.kind === "demo") {
    return {
      paths: buildFlowPaths(createDemoReplay(request.flows, request.steps)),
      agreement: null,
    };
  }
  const read = new TextDecoder();
  const replay = JSON.parse(read.decode(request.answer)) as Replay;
  const lines = read.decode(request.reflections).split("\n");
  const records = lines
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as TraceRecord);
  return {
    paths: buildFlowPaths(replay, { records, isComplete: request.isComplete }),
    agreement: { agrees: replay.agrees, difference: replay.difference, note: replay.note },
  };
}

self.onmessage = (event: MessageEvent<WorkerRequest>) => {
  try {
    const answer = answerRequest(event.data);
    self.postMessage(answer satisfies WorkerReply, { transfer: listBuffers(answer.paths) });
  } catch (error) {
    self.postMessage({ error: String(error) } satisfies WorkerReply);
  }
};
