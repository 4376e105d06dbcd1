/** Reads a replay beside the page, so that the page never stands still over a large one. */

import type { Replay, ReplayDifference, TraceRecord } from "../api/types";
import { demoReplay } from "./demo";
import { buffersOf, buildJourney, type Journey } from "./journey";

export type Question =
  | { kind: "replay"; answer: ArrayBuffer; reflections: ArrayBuffer; complete: boolean }
  | { kind: "demo"; flows: number; steps: number };

export interface Agreement {
  agrees: boolean;
  difference: ReplayDifference | null;
}

export type Reply = { journey: Journey; agreement: Agreement | null } | { error: string };

function reply(question: Question): { journey: Journey; agreement: Agreement | null } {
  if (question.kind === "demo") {
    return { journey: buildJourney(demoReplay(question.flows, question.steps)), agreement: null };
  }
  const read = new TextDecoder();
  const replay = JSON.parse(read.decode(question.answer)) as Replay;
  const lines = read.decode(question.reflections).split("\n");
  const records = lines
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as TraceRecord);
  return {
    journey: buildJourney(replay, { records, complete: question.complete }),
    agreement: { agrees: replay.agrees, difference: replay.difference },
  };
}

self.onmessage = (event: MessageEvent<Question>) => {
  try {
    const answer = reply(event.data);
    self.postMessage(answer satisfies Reply, { transfer: buffersOf(answer.journey) });
  } catch (error) {
    self.postMessage({ error: String(error) } satisfies Reply);
  }
};
