/** `millrace inspect --check`: is everything that a model holds and computes a finite number? */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { firstNotFinite } from "../artifact/finite.ts";
import { ArtifactError } from "../errors.ts";
import { ProgressLine } from "./progress.ts";
import { loadModel } from "./session.ts";
import type { Terminal } from "./terminal.ts";

/** Throws ArtifactError that names the first weight that is none. */
export async function checkWeights(artifact: ModelArtifact, terminal: Terminal): Promise<void> {
  const line = new ProgressLine(terminal);
  const found = await firstNotFinite(artifact, {
    signal: terminal.signal,
    onProgress: ({ done, total }) => line.update("check weights", done, total, "bytes"),
  }).finally(() => line.clear());
  if (found === undefined) return;
  const { tensor, index, value } = found;
  throw new ArtifactError(`${artifact.name}: tensor "${tensor}" is not finite: value ${index} is ${value}`);
}

/** Finite weights may still overflow on the way: a step of the whole network shows it. */
export async function checkLogits(flags: Parameters<typeof loadModel>[0], terminal: Terminal): Promise<void> {
  await using llm = await loadModel(flags, terminal);
  const [logits] = await llm.logits([llm.tokenizer.bosId ?? 0], { signal: terminal.signal });
  const bad = logits?.findIndex((value) => !Number.isFinite(value)) ?? -1;
  if (bad >= 0) {
    const { model } = llm.info;
    throw new ArtifactError(`${model}: all weights are finite, but the logit of token ${bad} is ${logits?.[bad]}`);
  }
  terminal.note("all weights are finite, and so are the logits");
}
