/** `millrace inspect --check`: is everything that a model holds and computes a finite number? */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { firstNotFinite } from "../artifact/finite.ts";
import { ProgramRunner } from "../backend/program-runner.ts";
import { createBackend } from "../engine/load.ts";
import { ArtifactError } from "../errors.ts";
import { withLayerOutputs } from "../models/layer-outputs.ts";
import { modelContext, modelGraph } from "../models/models.ts";
import { createTokenizer } from "../tokenizer/tokenizer.ts";
import { ProgressLine } from "./progress.ts";
import type { ModelFlags } from "./session.ts";
import type { Terminal } from "./terminal.ts";

/** Tables of positions are made for the context: enough for one token. */
const CONTEXT = 512;

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

/**
 * Finite weights may still overflow on the way: a step of the whole network shows it, and the values between the layers
 * show where. Throws ArtifactError that names the first layer, or the logit.
 */
export async function checkLayers(
  artifact: ModelArtifact,
  flags: Pick<ModelFlags, "context" | "kv" | "backend">,
  terminal: Terminal,
): Promise<void> {
  const { context = Math.min(modelContext(artifact), CONTEXT), kv = "f16" } = flags;
  const graph = withLayerOutputs((await modelGraph(artifact, { context })).graph);
  const named = [...graph.outputs.keys()].filter((name) => name.startsWith("hidden:"));
  const backend = await createBackend({ backend: flags.backend, signal: terminal.signal });
  let runner: ProgramRunner | undefined;
  try {
    const outputs = [...named, "logits"];
    const maxOutputs = outputs.length;
    runner = await ProgramRunner.create(backend, artifact, graph, { kv, context: 1, outputs, maxOutputs });
    const rows = { logits: [0], named: Object.fromEntries(named.map((name) => [name, [0]])) };
    const { bosId = 0 } = createTokenizer(artifact.tokenizer);
    const result = await runner.step([{ sequence: 0, tokens: [bosId] }], rows);
    for (const [i, name] of outputs.entries()) complain(artifact.name, name, result.outputs[i] ?? new Float32Array());
  } finally {
    await runner?.close();
    await backend.close();
  }
  terminal.note("all weights are finite, and so is what the layers make of a first token");
}

function complain(model: string, output: string, values: Float32Array): void {
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return;
  const layer = Number(output.replace("hidden:", ""));
  const where =
    output === "logits"
      ? `the logit of token ${bad}`
      : `value ${bad} ${layer > 0 ? `after layer ${layer - 1}` : "of the embeddings"}`;
  throw new ArtifactError(`${model}: all weights are finite, but ${where} is ${values[bad]}`);
}
