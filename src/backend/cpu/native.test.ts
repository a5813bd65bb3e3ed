/** What the addon refuses: programs that don't fit together. Nothing of it may reach a kernel. */
import assert from "node:assert/strict";
import test, { after } from "node:test";

import { TensorMaker } from "../../../test/support/memory-artifact.ts";
import { tinyModel } from "../../../test/support/tiny-program.ts";
import { MemoryError, NativeError } from "../../errors.ts";
import { groupStates } from "../groups.ts";
import { loadAddon } from "./addon.ts";
import { createCpuBackend } from "./backend.ts";
import { emit } from "./emit.ts";
import { asNativeAddon, type ProgramSpec } from "./native.ts";
import { NativePool } from "./pool.ts";
import { uploadWeights } from "./weights.ts";

const native = asNativeAddon(await loadAddon());
const team = native.createTeam(1, undefined);
const backend = await createCpuBackend({ threads: 1 });
const tensors = new TensorMaker(1);
const graph = tinyModel(tensors);
const groups = groupStates([graph], "f16");
const lowered = backend.lower(graph, tensors.artifact(), groups);
const weights = await uploadWeights(native, team, [lowered], {});
const pool = new NativePool(
  native,
  team,
  groups,
  groups.map(() => 2),
);
const spec = emit(lowered, weights, groups, {
  stepTokens: 8,
  maxSequences: 1,
  maxOutputs: 4,
  samplerSlots: 1,
  maxListed: 0,
  maxMoves: 0,
  maxCopies: 0,
  outputs: ["logits"],
});
after(async () => {
  pool.close();
  weights.close();
  native.stopTeam(team);
  await backend.close();
});

function compile(changed: ProgramSpec): void {
  native.close(native.compile(team, weights.handles, pool.handle, changed, false));
}

type Loose = Record<string, unknown>;

/** The spec with other fields in the op of this name. */
function withOp(name: string, fields: Loose): ProgramSpec {
  const copy = structuredClone(spec);
  const stages = [...copy.tokens, ...copy.sections.flatMap((section) => section.stages)];
  const found = stages.flatMap(({ wide, rows }): object[] => [...(wide ? [wide] : []), ...rows]);
  const op = found.find((candidate) => "op" in candidate && candidate.op === name);
  assert.ok(op, `the program has no ${name}`);
  Object.assign(op, fields);
  return copy;
}

test("a program that fits together is taken", () => compile(spec));

test("an instruction that the executor doesn't know, or not in that place, is refused", () => {
  const refused = { name: "NativeError", message: /no such instruction/ };
  assert.throws(() => compile(withOp("rmsNorm", { op: "rootMeanSquare" })), refused);
  assert.throws(() => compile(withOp("linear", { op: "gate" })), refused);
  assert.throws(() => compile(withOp("quantize", { op: "attend" })), refused);
});

test("operands outside of the arena, wrong shapes and parameters are refused", () => {
  const far = spec.arenaBytes;
  const faults: readonly (readonly [string, Loose])[] = [
    ["embed", { y: [far, 64] }],
    ["embed", { y: [2, 64] }],
    ["embed", { y: [0, 2 ** 40] }],
    ["embed", { y: [0, 8] }],
    ["embed", { y: [-4, 64] }],
    ["embed", { cols: 32 }],
    ["embed", { parts: [] }],
    ["embed", { parts: [[0, 99, 0]] }],
    ["embed", { parts: [[1, 0, 0]] }],
    ["embed", { parts: [[0, 0, 16]] }],
    ["rmsNorm", { groupSize: 0 }],
    ["rmsNorm", { groupSize: 48 }],
    ["rmsNorm", { groupSize: 2 ** 31 }],
    ["rmsNorm", { weight: [0, 99] }],
    ["rmsNorm", { eps: "small" }],
    ["quantize", { q: [0, 0, 0, 32] }],
    ["quantize", { q: [far, 0, 0, 64] }],
    ["ropeTable", { frequencies: new Float32Array(4096) }],
    ["ropeTable", { frequencies: new Float64Array(8) }],
    ["rope", { pairs: 9 }],
    ["rope", { heads: 400 }],
    ["kvWrite", { layer: 1 }],
    ["kvWrite", { group: 2 }],
    ["attend", { heads: 3 }],
    ["attend", { heads: 400 }],
    ["linear", { inputs: 32 }],
    ["linear", { cols: 16 }],
    ["linear", { x: [0, 64], q: undefined }],
    ["linearGate", { cols: 48 }],
    ["linearGate", { activation: "swish" }],
  ];
  for (const [name, fields] of faults) {
    const what = `${name} ${JSON.stringify(fields)}`;
    assert.throws(() => compile(withOp(name, fields)), NativeError, what);
  }
  const limits: readonly Partial<ProgramSpec>[] = [
    { stepTokens: 0 },
    { stepTokens: 8000 },
    { tokenIds: 49 },
    { logits: 1 },
    { vocab: 40 },
    { outputs: -1 },
    { arenaBytes: 64 },
  ];
  for (const limit of limits) assert.throws(() => compile({ ...spec, ...limit }), NativeError, JSON.stringify(limit));
  assert.throws(() => compile({ ...spec, arenaBytes: 2 ** 50 }), MemoryError);
});

test("weights and pools of another backend are refused", () => {
  const other = native.createTeam(1, undefined);
  assert.throws(() => native.compile(other, weights.handles, pool.handle, spec, false), /another backend/);
  assert.throws(() => native.compile(team, [], pool.handle, spec, false), NativeError);
  assert.throws(
    () => native.run(native.compile(team, weights.handles, pool.handle, spec, false), {} as never, {} as never),
    NativeError,
  );
  native.stopTeam(other);
});
