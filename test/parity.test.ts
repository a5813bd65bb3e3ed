/** A fast part of check:parity, and the same fixtures as GGUF files would hold them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test, { after } from "node:test";
import type { MetaObject } from "../src/artifact/artifact.ts";
import type { Backend } from "../src/backend/contract.ts";
import { modelGraph } from "../src/models/models.ts";
import { asGguf, hasGguf } from "./support/as-gguf.ts";
import { openBackends } from "./support/backends.ts";
import { openParityCase, type ParityCase, parityConfig, parityFamilies, runParity } from "./support/parity.ts";
import { ProgramRunner } from "../src/backend/program-runner.ts";

const LIMIT = 1e-3;
const backends = await openBackends();
after(async () => {
  await Promise.all(backends.map((backend) => backend.close()));
});

/** Known in GGUF by 40 layers, which no fixture has, and with rows of a length that the conversion makes 1. */
const GGUF_CANNOT_SAY: ReadonlySet<string> = new Set(["baichuan-13b", "baichuan2"]);

for (const family of parityFamilies()) {
  for (const backend of backends) {
    test(`${family} on ${backend.name} has transformers' logits`, async () => {
      const parityCase = await openParityCase(family);
      try {
        for (const { schedule, difference } of await runParity(backend, parityCase, ["prefill", "prefill + decode"])) {
          assert.ok(difference <= LIMIT, `${schedule}: max |Δlogit| ${difference}`);
        }
      } finally {
        await parityCase.artifact.close();
      }
    });
  }

  if (!hasGguf(parityConfig(family)) || GGUF_CANNOT_SAY.has(family)) continue;
  test(`${family} from GGUF's names and keys has the same logits`, async () => {
    const [reference] = backends;
    assert.ok(reference !== undefined);
    const parityCase = await openParityCase(family);
    try {
      const artifact = await asGguf(parityCase.artifact);
      const recorded = await asGgufCanSay(reference, parityCase);
      const [result] = await runParity(reference, { ...recorded, artifact }, ["prefill"]);
      assert.ok((result?.difference ?? Infinity) <= LIMIT, `max |Δlogit| ${result?.difference}`);
    } finally {
      await parityCase.artifact.close();
    }
  });
}

test("docs/models.md has every fixture's figures", () => {
  const text = readFileSync(new URL("../docs/models.md", import.meta.url), "utf8");
  const listed = [...text.matchAll(/^\| ([\w-]+) \| `/gm)].map(([, name]) => name);
  assert.deepEqual(listed, parityFamilies(), "run npm run check:parity -- --docs");
});

/** What a fixture's config says and GGUF can't, as GGUF's readers take it. */
const GGUF_DEFAULTS: Readonly<Record<string, MetaObject>> = {
  mistral: { sliding_window: null },
  starcoder2: { sliding_window: null },
  qwen2: { use_sliding_window: false },
  cohere2: { layer_types: ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"] },
  olmo3: { layer_types: ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"] },
  smollm3: { no_rope_layers: [1, 1, 1, 0] },
  gemma2: { query_pre_attn_scalar: 32 },
  gemma3: {
    layer_types: Array.from({ length: 4 }, () => "sliding_attention"),
    query_pre_attn_scalar: 32,
  },
  qwen3moe: { norm_topk_prob: true },
  llama4: { attention_chunk_size: 8192 },
};

/** The case itself, or where GGUF can't hold its config, one with such a config and the reference's logits for it. */
async function asGgufCanSay(reference: Backend, parityCase: ParityCase): Promise<ParityCase> {
  const defaults = GGUF_DEFAULTS[parityCase.name];
  if (defaults === undefined) return parityCase;
  const { artifact, tokens, positions } = parityCase;
  const config = { ...artifact.config, values: { ...artifact.config.values, ...defaults } };
  const changed = { ...artifact, config };
  const { graph } = await modelGraph(changed, { context: tokens.length });
  const runner = await ProgramRunner.create(reference, changed, graph, { kv: "f32", context: tokens.length });
  try {
    const { logits } = await runner.step([{ sequence: 0, tokens }], { logits: positions });
    assert.notDeepEqual(logits, parityCase.logits);
    return { ...parityCase, logits };
  } finally {
    await runner.close();
  }
}
