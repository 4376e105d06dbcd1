import { getSample } from "../api/models";
import { submitRun } from "../api/submit";
import { linkTo, navigate } from "../route";
import { describeRows, takeRows } from "./embeddings";

/** Rows of a sample that a run has unless another number is entered. */
export const DEFAULT_ROWS = 8;

/**
 * Run the first sample rows of a model, and open the run.
 *
 * @param key Idempotency-Key; a click after a lost answer makes no second run.
 */
export async function runSample(model: string, count: number, key: string): Promise<void> {
  const sample = await getSample(model);
  const run = await submitRun(
    {
      embeddings: describeRows(takeRows(sample, count), "from the sample"),
      model,
      seed: "",
      outputs: ["surface", "planes", "hits", "reached", "embedding"],
      options: {},
      labels: {},
    },
    key,
  );
  navigate(linkTo(["runs", run.run_id]));
}
