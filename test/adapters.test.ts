/** Adapters from their files: PEFT's logits on PEFT's fixtures, the same from GGUF, and what is refused by name. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { after } from "node:test";
import type { Adapter } from "../src/artifact/adapter.ts";
import type { ModelArtifact } from "../src/artifact/artifact.ts";
import { openAdapter } from "../src/artifact/node-adapter.ts";
import { writeGguf } from "../src/artifact/node-gguf.ts";
import { openArtifact } from "../src/artifact/node-open.ts";
import type { Backend } from "../src/backend/contract.ts";
import { ProgramRunner } from "../src/backend/program-runner.ts";
import { resolveAdapter } from "../src/models/adapters.ts";
import { modelGraph } from "../src/models/models.ts";
import { asGguf } from "./support/as-gguf.ts";
import { openBackends } from "./support/backends.ts";
import { TensorMaker } from "./support/memory-artifact.ts";
import { openParityCase } from "./support/parity.ts";
import { openPeftCase, type PeftCase, peftNames } from "./support/peft.ts";

const LIMIT = 1e-3;
const backends = await openBackends();
const home = await mkdtemp(path.join(tmpdir(), "millrace-adapters-"));
after(async () => {
  await Promise.all(backends.map((backend) => backend.close()));
  await rm(home, { recursive: true });
});

/** A folder as PEFT's save_pretrained leaves it. */
async function peftFolder(
  { config, weights }: PeftCase,
  changes: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const folder = await mkdtemp(path.join(home, "peft-"));
  const changed: unknown = { ...(JSON.parse(config) as object), ...changes };
  await writeFile(path.join(folder, "adapter_config.json"), JSON.stringify(changed));
  await writeFile(path.join(folder, "adapter_model.safetensors"), weights);
  return folder;
}

async function baseOf({ base, replaced }: PeftCase): Promise<ModelArtifact> {
  const { artifact } = await openParityCase(base);
  const maker = new TensorMaker(0);
  for (const [name, { shape, values }] of replaced) maker.values(name, "F32", shape, values);
  return { ...artifact, tensors: new Map([...artifact.tensors, ...maker.artifact().tensors]) };
}

async function difference(backend: Backend, base: ModelArtifact, adapter: Adapter, given: PeftCase): Promise<number> {
  const { tokens, positions, vocabulary, logits } = given;
  const { graph } = await modelGraph(base, { context: tokens.length });
  const options = { kv: "f32", context: tokens.length, maxAdapters: 1, maxRank: 8 } as const;
  const runner = await ProgramRunner.create(backend, base, graph, options);
  try {
    const weights = await backend.uploadAdapter(runner.program.lowered, adapter);
    await runner.program.setAdapter(0, weights);
    const result = await runner.step([{ sequence: 0, tokens, adapter: 0 }], { logits: positions });
    assert.equal(result.logits.length, positions.length * vocabulary);
    return result.logits.reduce((most, x, i) => Math.max(most, Math.abs(x - (logits[i] ?? NaN))), 0);
  } finally {
    await runner.close();
  }
}

for (const name of peftNames()) {
  const given = openPeftCase(name);
  test(`PEFT's logits: ${name} on ${given.base}`, async () => {
    const opened = await openAdapter(await peftFolder(given));
    const base = await baseOf(given);
    for (const backend of backends) {
      const found = await difference(backend, base, await resolveAdapter(opened, base), given);
      assert.ok(found <= LIMIT, `${backend.name}: max |Δlogit| ${found}`);
    }
    await opened.close();
  });

  test(`PEFT's logits: ${name} on ${given.base} as GGUF`, async () => {
    const opened = await openAdapter(await peftFolder(given));
    const base = await asGguf(await baseOf(given));
    const adapter = await resolveAdapter(opened, base);
    const [reference] = backends;
    assert.ok(reference !== undefined);
    const found = await difference(reference, base, adapter, given);
    assert.ok(found <= LIMIT, `max |Δlogit| ${found}`);
    await opened.close();
  });
}

test("an adapter in GGUF is read as llama.cpp does", async () => {
  const given = openPeftCase("lora");
  const base = await asGguf(await baseOf(given));
  const peft = await openAdapter(await peftFolder(given));
  const { pairs } = await resolveAdapter(peft, base);
  const file = path.join(home, "adapter.gguf");
  const tensors = [...pairs].flatMap(([name, { a, b }]) => [
    { ...a, name: `${name}.lora_a` },
    { ...b, name: `${name}.lora_b` },
  ]);
  await writeGguf(file, {
    metadata: {
      "general.architecture": "llama",
      "general.type": "adapter",
      "adapter.type": "lora",
      "adapter.lora.alpha": 8,
    },
    types: new Map([
      ["general.architecture", "string"],
      ["general.type", "string"],
      ["adapter.type", "string"],
      ["adapter.lora.alpha", "f32"],
    ]),
    tensors,
  });
  const opened = await openAdapter(file);
  const [reference] = backends;
  assert.ok(reference !== undefined);
  assert.ok((await difference(reference, base, await resolveAdapter(opened, base), given)) <= LIMIT);
  await assert.rejects(resolveAdapter(opened, (await openParityCase("llama")).artifact), /needs its base in GGUF/);
  await assert.rejects(openArtifact(file), /is an adapter: load the model/);
  await opened.close();
  await peft.close();
});

test("what an adapter's config asks for beyond LoRA, rsLoRA and DoRA is refused by name", async () => {
  const given = openPeftCase("lora");
  const refused: readonly (readonly [Readonly<Record<string, unknown>>, RegExp])[] = [
    [{ peft_type: "IA3" }, /peft_type is "IA3"/],
    [{ bias: "all" }, /bias is "all"/],
    [{ modules_to_save: ["lm_head"] }, /modules_to_save/],
    [{ init_lora_weights: "pissa_niter_4" }, /init_lora_weights/],
    [{ lora_alpha: "8" }, /lora_alpha/],
    [{ use_dora: true }, /use_dora is true, but .* has no magnitude/],
    [{ alpha_pattern: { "(a+)+$": 1 } }, /alpha_pattern/],
  ];
  for (const [changes, message] of refused)
    await assert.rejects(openAdapter(await peftFolder(given, changes)), message);
  const folder = await peftFolder(given);
  await assert.rejects(openArtifact(folder), /is an adapter: load the model/);
  await rm(path.join(folder, "adapter_model.safetensors"));
  await assert.rejects(openAdapter(folder), /adapter_model.safetensors is missing/);
  const other = await openAdapter(await peftFolder(given));
  await assert.rejects(resolveAdapter(other, (await openParityCase("phi3")).artifact), /made for another model/);
  await other.close();
});
