/**
 * Steps, on every backend: two in flight, samples named before they are known, failure and cancellation, plans that are
 * refused, several programs over one pool, named outputs, blocks as bytes. What runs together must give the bits of what
 * runs alone.
 */
import assert from "node:assert/strict";
import test, { after } from "node:test";
import { openBackends } from "../../test/support/backends.ts";
import { TensorMaker } from "../../test/support/memory-artifact.ts";
import { Random } from "../../test/support/random.ts";
import { TOY_VOCAB, ToyModel } from "../../test/support/toy-models.ts";
import { StepError } from "../errors.ts";
import { REMEMBERED_STEPS, type Backend, type CompileOptions, type KvType, type StepPlan } from "./contract.ts";
import { groupStates } from "./groups.ts";
import { GREEDY, ProgramRunner, type RunnerOptions } from "./program-runner.ts";
import { StepPlanBuffer } from "./step-plan.ts";

const CONTEXT = 96;
const backends = await openBackends();
after(async () => {
  await Promise.all(backends.map((backend) => backend.close()));
});

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const randomTokens = (random: Random, count: number): number[] => upTo(count).map(() => random.below(TOY_VOCAB));

async function open(backend: Backend, options: Partial<RunnerOptions> = {}): Promise<ProgramRunner> {
  const toy = new ToyModel(new TensorMaker(5), { window: 20 });
  const all = { kv: "f16", context: CONTEXT, sequences: 3, samplerSlots: 3, ...options } as const;
  return ProgramRunner.create(backend, toy.tensors.artifact(), toy.graph(), all);
}

function rowAt(rows: Float32Array, width: number, row: number): Float32Array {
  return rows.subarray(row * width, (row + 1) * width);
}

function unrun(error: unknown): boolean {
  return error instanceof StepError && error.reason === "unrun";
}

function cancelled(error: unknown): boolean {
  return error instanceof StepError && error.reason === "cancelled";
}

for (const backend of backends) {
  test(`${backend.name}: two steps in flight, the second fed by samples of the first, give what one at a time gives`, async () => {
    const results: number[][] = [];
    const logits: Float32Array[][] = [];
    for (const depth of [1, 2]) {
      const runner = await open(backend);
      const params = { temperature: 1, presencePenalty: 1, seed: 77n };
      for (const slot of [0, 1]) runner.open(slot, { ...params, sampleIndex: slot }, [slot]);
      const samples = upTo(2).map((slot) => ({ row: slot, slot }));
      const ids: number[] = [];
      const rows: Float32Array[] = [];
      let last = runner.submit(
        [0, 1].map((sequence) => ({ sequence, tokens: [3 + sequence] })),
        { samples, logits: [0, 1] },
      );
      const pending = [last];
      for (let i = 0; i < 30; i++) {
        if (pending.length === depth) {
          const result = await pending.shift()?.result;
          ids.push(...(result?.sampleIds ?? []));
          rows.push(result?.logits ?? new Float32Array(0));
        }
        const drawn = upTo(2).map((sample) => ({ step: last.id, sample }));
        for (const [slot, token] of drawn.entries()) runner.commit(slot, token);
        last = runner.submit(
          drawn.map((token, sequence) => ({ sequence, tokens: [token] })),
          { samples, logits: [0, 1] },
        );
        pending.push(last);
      }
      for (const step of pending) {
        const { sampleIds, logits: wanted } = await step.result;
        ids.push(...sampleIds);
        rows.push(wanted);
      }
      results.push(ids);
      logits.push(rows);
      await runner.close();
    }
    assert.equal(results[0]?.length, 62);
    assert.deepEqual(results[1], results[0]);
    assert.deepEqual(logits[1], logits[0]);
    // The ids that were named are the ids that were fed: known tokens give the same logits.
    const runner = await open(backend);
    const own = results[0]?.filter((_, i) => i % 2 === 0) ?? [];
    const known = await runner.step([{ sequence: 0, tokens: [3, ...own.slice(0, -1)] }], { logits: upTo(31) });
    const first = logits[0]?.flatMap((row) => [...row.subarray(0, TOY_VOCAB)]) ?? [];
    assert.deepEqual([...known.logits], first);
    await runner.close();
  });

  test(`${backend.name}: a third step in flight is refused, a forgotten step's samples too`, async () => {
    const runner = await open(backend);
    runner.open(0, {}, []);
    const masked = { samples: [{ row: 0, slot: 0, masked: true }] };
    const first = runner.submit([{ sequence: 0, tokens: [1] }], masked);
    const second = runner.submit([{ sequence: 1, tokens: [1] }]);
    await assert.rejects(runner.submit([{ sequence: 2, tokens: [1] }]).result, /in flight/);
    first.mask(0, "drop");
    await first.result;
    await second.result;
    const named = runner.submit([{ sequence: 0, tokens: [1] }], { samples: [{ row: 0, slot: 0 }] });
    const { sampleIds } = await named.result;
    const fed = { sequence: 1, tokens: [{ step: named.id, sample: 0 }] };
    const steps: Float32Array[] = [];
    for (let i = 1; i < REMEMBERED_STEPS; i++) {
      runner.truncate(1, 0);
      steps.push((await runner.step([fed], { logits: [0] })).logits);
    }
    runner.truncate(1, 0);
    const known = await runner.step([{ sequence: 1, tokens: [...sampleIds] }], { logits: [0] });
    for (const logits of steps) assert.deepEqual(logits, known.logits);
    await runner.step([{ sequence: 2, tokens: [1] }]);
    await assert.rejects(runner.step([fed]));
    await assert.rejects(runner.step([{ sequence: 1, tokens: [{ step: named.id + 99, sample: 0 }] }]));
    await runner.close();
  });

  test(`${backend.name}: token 0 stands in for a sample that came to nothing`, async () => {
    const runner = await open(backend);
    runner.open(0, {}, []);
    const first = runner.submit([{ sequence: 0, tokens: [1] }], { samples: [{ row: 0, slot: 0, masked: true }] });
    const second = runner.submit([{ sequence: 0, tokens: [{ step: first.id, sample: 0 }] }], { logits: [0] });
    first.mask(0, "drop");
    const { logits } = await second.result;
    const known = await runner.step([{ sequence: 1, tokens: [1, 0] }], { logits: [1] });
    assert.deepEqual(logits, known.logits);
    await runner.close();
  });

  test(`${backend.name}: a cancelled step ends alone its own slots, and the later one comes back unrun`, async () => {
    const runner = await open(backend);
    const params = { temperature: 1, seed: 5n, frequencyPenalty: 1 };
    for (const slot of [0, 1, 2]) runner.open(slot, { ...params, sampleIndex: slot }, []);
    const prompt = { sequence: 0, tokens: [1, 2, 3] };
    const expected = await runner.step([prompt], { samples: [0, 1, 2].map((slot) => ({ row: 2, slot })) });
    // Step A waits for a mask; B is behind it.
    const a = runner.submit([{ sequence: 1, tokens: [1] }], { samples: [{ row: 0, slot: 0, masked: true }] });
    const b = runner.submit([{ sequence: 2, tokens: [{ step: a.id, sample: 0 }] }], { samples: [{ row: 0, slot: 1 }] });
    const outcomes = Promise.allSettled([a.result, b.result]);
    await new Promise((resolve) => setTimeout(resolve, 5));
    a.cancel();
    a.cancel();
    const [first, second] = await outcomes;
    assert.ok(first?.status === "rejected" && cancelled(first.reason), first.status);
    assert.ok(second?.status === "rejected" && unrun(second.reason), second.status);
    a.mask(0, "drop");
    // Slots 0 and 1 are closed, slot 2 is as it was, and the program goes on.
    for (const slot of [0, 1]) await assert.rejects(runner.step([prompt], { samples: [{ row: 2, slot }] }));
    runner.restart();
    for (const slot of [0, 1]) runner.open(slot, { ...params, sampleIndex: slot }, []);
    const again = await runner.step([prompt], { samples: [0, 1, 2].map((slot) => ({ row: 2, slot })) });
    assert.deepEqual(again.sampleIds, expected.sampleIds);
    await runner.close();
  });

  test(`${backend.name}: a step that has not begun is cancelled, and the earlier one completes`, async () => {
    const runner = await open(backend);
    runner.open(0, {}, []);
    const a = runner.submit([{ sequence: 0, tokens: [1] }], {
      samples: [{ row: 0, slot: 0, masked: true }],
      logits: [0],
    });
    // It names the same slot, which stays open for the earlier step.
    runner.commit(0, 5);
    const b = runner.submit([{ sequence: 1, tokens: [1] }], { samples: [{ row: 0, slot: 0 }] });
    b.cancel();
    await assert.rejects(b.result, cancelled);
    a.mask(0, Uint32Array.of(1 << 9, 0));
    const { logits, sampleIds } = await a.result;
    assert.deepEqual([...sampleIds], [9]);
    await assert.rejects(runner.step([{ sequence: 1, tokens: [1] }], { samples: [{ row: 0, slot: 0 }] }));
    runner.truncate(2, 0);
    const alone = await runner.step([{ sequence: 2, tokens: [1] }], { logits: [0] });
    assert.deepEqual(logits, alone.logits);
    await runner.close();
  });

  test(`${backend.name}: closing a program cancels what is in flight`, async () => {
    const runner = await open(backend);
    runner.open(0, {}, []);
    const a = runner.submit([{ sequence: 0, tokens: [1] }], { samples: [{ row: 0, slot: 0, masked: true }] });
    const b = runner.submit([{ sequence: 1, tokens: [1] }]);
    const outcomes = Promise.allSettled([a.result, b.result]);
    await runner.close();
    for (const outcome of await outcomes)
      assert.ok(outcome.status === "rejected" && outcome.reason instanceof StepError, outcome.status);
    await assert.rejects(runner.step([{ sequence: 0, tokens: [1] }]));
  });

  for (const way of ["fork", "transfer"] as const) {
    test(`${backend.name}: a sequence goes on from copied blocks (${way}) with the same bits`, async () => {
      for (const kv of ["f16", "f32", "q8"] satisfies KvType[]) {
        const runner = await open(backend, { kv });
        await runner.step([{ sequence: 0, tokens: randomTokens(new Random(9), 45) }]);
        await runner[way](0, 1);
        const logits = [0, 1, 2];
        const copied = await runner.step([{ sequence: 1, tokens: [1, 2, 3] }], { logits });
        const original = await runner.step([{ sequence: 0, tokens: [1, 2, 3] }], { logits });
        assert.deepEqual(copied.logits, original.logits);
        assert.ok(original.logits.some((x) => x !== 0));
        await runner.close();
      }
    });
  }

  test(`${backend.name}: reads and writes of a pool happen in their order among the steps`, async () => {
    const runner = await open(backend, { sequences: 2 });
    const { pool } = runner.memory;
    const blocks = (group: number): Int32Array => Int32Array.from(upTo(pool.blocks[group] ?? 0));
    const zeros = await pool.read(0, blocks(0));
    assert.ok(zeros.length > 0 && zeros.every((byte) => byte === 0), "a new pool is zeroed");
    const tokens = randomTokens(new Random(10), 20);
    const step = runner.submit([{ sequence: 0, tokens }], { logits: upTo(20) });
    const during = pool.read(0, blocks(0));
    const wiped = pool.groups.map(async (_, group) =>
      pool.write(group, blocks(group), new Uint8Array((await pool.read(group, blocks(group))).length)),
    );
    const { logits } = await step.result;
    await Promise.all(wiped);
    assert.ok(
      (await during).some((byte) => byte !== 0),
      "the read saw the step's keys",
    );
    assert.ok(
      (await pool.read(0, blocks(0))).every((byte) => byte === 0),
      "the write came after the step",
    );
    await assert.rejects(pool.write(0, Int32Array.of(0), new Uint8Array(3)));
    await assert.rejects(pool.read(0, Int32Array.of(pool.blocks[0] ?? 0)));
    runner.restart();
    assert.deepEqual((await runner.step([{ sequence: 0, tokens }], { logits: upTo(20) })).logits, logits);
    await runner.close();
  });

  test(`${backend.name}: each named output gives the rows that are wanted of it, and changes no other`, async () => {
    const outputs = ["hidden:1", "logits", "hidden:0"];
    const runner = await open(backend, { outputs });
    const tokens = randomTokens(new Random(12), 12);
    const feed = { sequence: 0, tokens };
    const all = await runner.step([feed], { logits: upTo(12), named: { "hidden:0": upTo(12), "hidden:1": upTo(12) } });
    const rowsAt = (values: Float32Array, width: number, rows: readonly number[]): number[] =>
      rows.flatMap((row) => [...values.subarray(row * width, (row + 1) * width)]);
    runner.restart();
    runner.open(0, {}, []);
    const some = await runner.step([feed], {
      logits: [11, 2, 2],
      named: { "hidden:0": [5], "hidden:1": [0, 11] },
      samples: [{ row: 7, slot: 0 }],
      logprobs: [{ row: 3, id: 4 }],
    });
    assert.deepEqual([...some.logits], rowsAt(all.logits, TOY_VOCAB, [11, 2, 2]));
    assert.deepEqual([...(some.outputs[0] ?? [])], rowsAt(all.outputs[0] ?? new Float32Array(0), 64, [0, 11]));
    assert.deepEqual([...(some.outputs[2] ?? [])], rowsAt(all.outputs[2] ?? new Float32Array(0), 64, [5]));
    runner.restart();
    const none = await runner.step([feed], { named: { "hidden:1": [0, 11] } });
    assert.deepEqual(none.outputs[0], some.outputs[0]);
    assert.equal(none.logits.length, 0);
    await runner.close();
    await assert.rejects(open(backend, { outputs: ["hidden:7"] }));
  });

  test(`${backend.name}: float rows in the middle of a prompt are what its tokens would have given`, async () => {
    const tensors = new TensorMaker(5);
    const toy = new ToyModel(tensors, { soft: true, dtype: "Q8_0" });
    const graph = toy.graph();
    const source = tensors.artifact();
    const table = source.tensors.get("table");
    assert.ok(table !== undefined);
    const bytes = await table.source.read(table.offset, table.byteLength);
    const embeddings = new Float32Array(bytes.slice().buffer);
    const width = embeddings.length / TOY_VOCAB;
    const rowOf = (token: number): Float32Array => embeddings.subarray(token * width, (token + 1) * width);

    const options = { kv: "f16", context: CONTEXT, sequences: 2, inputs: ["embeddings"], maxInputRows: 20 } as const;
    const runner = await ProgramRunner.create(backend, source, graph, options);
    const tokens = randomTokens(new Random(15), 30);
    const known = await runner.step([{ sequence: 0, tokens }], { logits: upTo(30) });
    // Rows 9 … 21 are given as floats, behind wrong tokens; the other sequence's rows are tokens.
    const soft = tokens.map((token, i) => (i >= 9 && i <= 21 ? (token + 1) % TOY_VOCAB : token));
    const given = new Map(upTo(13).map((i) => [9 + i, rowOf(tokens[9 + i] ?? 0)]));
    runner.restart();
    const feeds = [
      { sequence: 1, tokens: [4, 5] },
      { sequence: 0, tokens: soft, inputs: { embeddings: given } },
    ];
    const mixed = await runner.step(feeds, { logits: upTo(30).map((i) => 2 + i) });
    assert.deepEqual(mixed.logits, known.logits);
    // A later step gives none, and another value is another answer.
    runner.restart();
    const plain = await runner.step([{ sequence: 0, tokens }], { logits: upTo(30) });
    assert.deepEqual(plain.logits, known.logits);
    runner.restart();
    const other = new Map([[9, rowOf(tokens[9] ?? 0).map((x) => x + 0.25)]]);
    const changed = await runner.step([{ sequence: 0, tokens, inputs: { embeddings: other } }], { logits: upTo(30) });
    assert.deepEqual(changed.logits.subarray(0, 9 * TOY_VOCAB), known.logits.subarray(0, 9 * TOY_VOCAB));
    assert.notDeepEqual(changed.logits.subarray(9 * TOY_VOCAB), known.logits.subarray(9 * TOY_VOCAB));
    // Beyond what was compiled for, beyond the step, twice.
    const refused = (rows: readonly number[]): Promise<unknown> => {
      const plan = new StepPlanBuffer({ ...runner.options, groups: 1, context: CONTEXT, inputWidths: [width] });
      plan.id = runner.memory.nextStep();
      plan.addSequence(runner.memory.tables(1, 0));
      plan.addRows([1, 2, 3], 0);
      for (const row of rows) plan.addInput(0, row, rowOf(1));
      return program.run(plan).result;
    };
    const { program } = runner;
    await refused([0, 2]);
    for (const rows of [[3], [-1], [1, 1]])
      await assert.rejects(refused(rows), (error) => !(error instanceof StepError));
    await runner.close();
    await assert.rejects(ProgramRunner.create(backend, source, graph, { ...options, inputs: ["pixels"] }));
  });

  test(`${backend.name}: two programs share states by name, weights and samples`, async () => {
    const toy = new ToyModel(new TensorMaker(5));
    const [whole, draft] = [toy.graph([0, 1]), toy.graph([0])];
    const source = toy.tensors.artifact();
    const groups = groupStates([whole, draft], "f16");
    const options = { kv: "f16", context: CONTEXT, sequences: 2, samplerSlots: 1 } as const;
    const lowered = [whole, draft].map((graph) => backend.lower(graph, source, groups));
    const [target, drafter] = await ProgramRunner.open(backend, lowered, options);
    assert.ok(target !== undefined && drafter !== undefined);
    const tokens = randomTokens(new Random(14), 40);
    // The draft alone, over all tokens and its own keys.
    const alone = await drafter.step([{ sequence: 1, tokens: [...tokens, 7, 8] }], { logits: [40, 41] });
    // The target computes the first 40; the draft reads layer 0's keys where the target wrote them.
    await target.step([{ sequence: 0, tokens }]);
    drafter.follow(0, target);
    const shared = await drafter.step([{ sequence: 0, tokens: [7, 8] }], { logits: [0, 1] });
    assert.deepEqual(shared.logits, alone.logits);
    // A step of one program names a sample of the other's, both in flight.
    drafter.open(0, { temperature: 1, seed: 3n }, []);
    const drawn = drafter.submit([{ sequence: 1, tokens: [3] }], { samples: [{ row: 0, slot: 0 }] });
    const verified = target.submit([{ sequence: 0, tokens: [{ step: drawn.id, sample: 0 }] }], { logits: [0] });
    const [{ sampleIds }, { logits }] = await Promise.all([drawn.result, verified.result]);
    target.truncate(0, 40);
    const known = await target.step([{ sequence: 0, tokens: [...sampleIds] }], { logits: [0] });
    assert.deepEqual(logits, known.logits);
    await target.close();
    await drafter.close();
  });

  test(`${backend.name}: a drafter reads the rows that another program wrote, those of accepted nodes too`, async () => {
    const toy = new ToyModel(new TensorMaker(5), { features: true });
    const [whole, reading, given] = [toy.graph(), toy.drafter("state"), toy.drafter("input")];
    const source = toy.tensors.artifact();
    const outputs = ["logits", "hidden:1"];
    const options = { kv: "f16", context: CONTEXT, sequences: 3 } as const;
    const groups = groupStates([whole, reading], "f16");
    assert.deepEqual(
      groups.map(({ kind }) => kind),
      ["kv", "rows"],
    );
    const lowered = [whole, reading].map((graph) => backend.lower(graph, source, groups));
    const [target, drafter] = await ProgramRunner.open(backend, lowered, options);
    const naming = await ProgramRunner.create(backend, source, whole, { ...options, outputs });
    const inputs = { inputs: ["features"], maxInputRows: 64 };
    const oracle = await ProgramRunner.create(backend, source, given, { ...options, ...inputs });
    assert.ok(target !== undefined && drafter !== undefined);

    // 20 tokens, then a tree of which nodes 0, 2 and 3 are accepted, then two tokens more, in a forked sequence.
    const tokens = randomTokens(new Random(16), 25);
    await target.step([{ sequence: 0, tokens: tokens.slice(0, 20) }]);
    const tree = [tokens[20] ?? 0, 9, tokens[21] ?? 0, tokens[22] ?? 0, 11];
    await target.step([{ sequence: 0, tokens: tree, parents: [-1, 0, 0, 2, 3] }]);
    target.accept(0, [0, 2, 3]);
    target.fork(0, 2);
    await target.step([{ sequence: 2, tokens: tokens.slice(23) }]);
    const drafted = await drafter.step([{ sequence: 2, tokens }], { logits: upTo(25) });

    // The oracle: the features as float rows, from the same model as a named output.
    const { outputs: named } = await naming.step([{ sequence: 1, tokens }], { named: { "hidden:1": upTo(25) } });
    const hidden = named[1] ?? new Float32Array(0);
    const width = hidden.length / 25;
    const before = upTo(25).map((row) => [row, row === 0 ? new Float32Array(width) : rowAt(hidden, width, row - 1)]);
    const features = new Map(before as [number, Float32Array][]);
    const expected = await oracle.step([{ sequence: 1, tokens, inputs: { features } }], { logits: upTo(25) });
    assert.deepEqual(drafted.logits, expected.logits);
    for (const runner of [target, drafter, naming, oracle]) await runner.close();
  });

  test(`${backend.name}: weights of a base are not loaded again`, async () => {
    const toy = new ToyModel(new TensorMaker(5));
    const source = toy.tensors.artifact();
    const graphs = [toy.graph([0, 1]), toy.graph([0])] as const;
    const groups = groupStates(graphs, "f16");
    const [whole, part] = [backend.lower(graphs[0], source, groups), backend.lower(graphs[1], source, groups)];
    const base = await backend.upload([whole]);
    const rest = await backend.upload([part], { base });
    const both = await backend.upload([whole, part]);
    assert.equal(rest.bytes, 0);
    assert.equal(both.bytes, base.bytes);
    const pool = await backend.allocate(groups, [6]);
    const options: CompileOptions = {
      stepTokens: 4,
      maxSequences: 1,
      maxOutputs: 4,
      samplerSlots: 1,
      maxListed: 0,
      maxMoves: 0,
      maxCopies: 0,
      outputs: ["logits"],
    };
    const logits: (Float32Array | undefined)[] = [];
    for (const weights of [rest, both]) {
      const program = await backend.compile(part, weights, pool, options);
      const plan = new StepPlanBuffer({ ...options, groups: 1, context: CONTEXT });
      plan.id = logits.length + 1;
      plan.addSequence([[2, 5]]);
      plan.addRows([1, 2, 3], 0);
      plan.addOutput(0, 2);
      logits.push((await program.run(plan).result).outputs[0]);
      await program.close();
    }
    assert.deepEqual(logits[0], logits[1]);
    pool.close();
    for (const weights of [both, rest, base]) weights.close();
  });

  test(`${backend.name}: a plan that breaks a rule is refused, and changes nothing`, async () => {
    const toy = new ToyModel(new TensorMaker(5), { window: 20 });
    const groups = groupStates([toy.graph()], "f32");
    const lowered = backend.lower(toy.graph(), toy.tensors.artifact(), groups);
    const weights = await backend.upload([lowered]);
    const pool = await backend.allocate(groups, [6, 6]);
    const options: CompileOptions = {
      stepTokens: 16,
      maxSequences: 2,
      maxOutputs: 8,
      samplerSlots: 2,
      maxListed: 8,
      maxMoves: 2,
      maxCopies: 2,
      outputs: ["logits"],
    };
    const program = await backend.compile(lowered, weights, pool, options);
    let id = 0;
    /** Reads the prompt in blocks 2 and 5; writes its last row again. */
    const good = (): StepPlanBuffer => {
      const plan = new StepPlanBuffer({ ...options, groups: 2, context: 32 });
      plan.id = ++id;
      plan.addSequence([[2], [5]]);
      plan.addRows([1, 2, 3], 4);
      plan.addRow(4, 7, 9, 7);
      plan.addListed(9);
      plan.addSample(3, 0, 2);
      plan.addCounted(3);
      plan.addLogprob(1, 5);
      plan.addOutput(0, 3);
      return plan;
    };
    const opening = { slot: 0, params: GREEDY, prompt: Int32Array.of(1), answer: Int32Array.of(2) };
    const first = good();
    first.addOpen(opening);
    const expected = await program.run(first).result;
    const faults: readonly (readonly [string, (plan: StepPlanBuffer) => void])[] = [
      ["an id that doesn't rise", (p) => (p.id = first.id)],
      ["a token beyond the vocabulary", (p) => (p.tokens[1] = TOY_VOCAB)],
      ["a reference that isn't there", (p) => (p.tokens[1] = -1)],
      ["a reference to an unknown step", (p) => (p.tokens[1] = p.addReference(p.id - 100, 0))],
      ["a reference to the step itself", (p) => (p.tokens[1] = p.addReference(p.id, 0))],
      ["a reference to a missing sample", (p) => (p.tokens[1] = p.addReference(first.id, 1))],
      ["more tokens than there are", (p) => (p.tokenCount = 17)],
      ["query starts that don't end with the tokens", (p) => (p.tokenCount = 5)],
      ["query starts that fall", (p) => ((p.sequenceCount = 2), p.queryStarts.set([0, 5, 4]))],
      ["too many sequences", (p) => (p.sequenceCount = 3)],
      ["a negative position", (p) => (p.positions[0] = -1)],
      ["a negative slot", (p) => (p.slots[0] = -1)],
      ["a slot beyond the blocks", (p) => (p.slots[0] = 16)],
      ["a slot beyond the table", (p) => (p.slots[0] = 40)],
      ["a row that sees beyond the blocks", (p) => (p.seen[0] = 17)],
      ["a row that sees nothing", (p) => (p.seen[0] = 0)],
      ["a negative sight", (p) => (p.seen[0] = -1)],
      ["two rows with one slot", (p) => (p.slots[0] = 5)],
      ["a listed slot beyond the blocks", (p) => (p.listed[0] = 16)],
      ["a negative listed slot", (p) => (p.listed[0] = -1)],
      ["list starts that fall", (p) => (p.listStarts[1] = 2)],
      ["a block that isn't there", (p) => p.blockTables[0]?.ids.fill(6)],
      ["a freed block that is read", (p) => p.blockTables[1]?.ids.fill(-1)],
      ["a copy to no block", (p) => p.addCopy(0, 1, 6)],
      ["a copy in no group", (p) => p.addCopy(2, 1, 3)],
      ["two copies to one block", (p) => (p.addCopy(0, 1, 3), p.addCopy(0, 4, 3))],
      ["copies in a chain", (p) => (p.addCopy(0, 0, 1), p.addCopy(0, 1, 3))],
      ["a copy to itself", (p) => p.addCopy(0, 1, 1)],
      ["a move to no place", (p) => p.addMove(0, 1, 2, 3, 16)],
      ["a move from no block", (p) => p.addMove(0, -1, 2, 3, 1)],
      ["two moves to one place", (p) => (p.addMove(0, 1, 2, 3, 4), p.addMove(0, 1, 3, 3, 4))],
      ["moves in a chain", (p) => (p.addMove(0, 1, 2, 3, 4), p.addMove(0, 3, 4, 3, 5))],
      ["more moves than allowed", (p) => (p.moveCount = 3)],
      ["a slot that isn't open", (p) => (p.sampleSlots[0] = 1)],
      ["a slot that isn't there", (p) => (p.sampleSlots[0] = 2)],
      ["a slot closed by the plan", (p) => p.addClose(0)],
      ["a commit to a closed slot", (p) => p.addCommit(1, 3)],
      ["a commit of no token", (p) => p.addCommit(0, TOY_VOCAB)],
      ["an opening beyond the slots", (p) => p.addOpen({ ...opening, slot: 2 })],
      ["an opening with no token", (p) => p.addOpen({ ...opening, slot: 1, prompt: Int32Array.of(TOY_VOCAB) })],
      ["a sample of no row", (p) => (p.sampleRows[0] = 4)],
      ["too many alternatives", (p) => (p.sampleTop[0] = 21)],
      ["a counted row that isn't there", (p) => (p.counted[0] = 4)],
      ["count starts that fall", (p) => (p.countStarts[1] = 0)],
      ["a log-probability of no token", (p) => (p.logprobIds[0] = TOY_VOCAB)],
      ["a log-probability of no row", (p) => (p.logprobRows[0] = -1)],
      ["an output of no row", (p) => p.outputs[0]?.rows.fill(4) ?? assert.fail()],
      ["too many output rows", (p) => (p.sampleCount = 7)],
      ["a negative count", (p) => (p.copyCount = -1)],
      ["a list shorter than its count", (p) => Object.assign(p, { tokens: Int32Array.of(1, 2) })],
    ];
    for (const [name, spoil] of faults) {
      const plan = good();
      spoil(plan);
      await assert.rejects(program.run(plan).result, (error) => !(error instanceof StepError), `${name} was taken`);
      const next: StepPlan = good();
      const { sampleIds, logprobs, outputs } = await program.run(next).result;
      assert.deepEqual(sampleIds, expected.sampleIds, `after ${name}`);
      assert.deepEqual(logprobs, expected.logprobs, `after ${name}`);
      assert.deepEqual(outputs, expected.outputs, `after ${name}`);
    }
    await program.close();
    pool.close();
    weights.close();
  });
}
