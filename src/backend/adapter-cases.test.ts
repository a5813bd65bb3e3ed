/**
 * Adapters on every backend and instruction set: what they add agrees with the reference's formula, a sequence's bits are
 * those of its adapter alone whatever its neighbours have, a sequence without one gets the bits of a program without any,
 * and a place may be filled and emptied while steps are in flight.
 */
import assert from "node:assert/strict";
import test, { after } from "node:test";
import { matricesOf, randomAdapter, type AdapterOptions } from "../../test/support/adapters.ts";
import { openIsas } from "../../test/support/backends.ts";
import { TensorMaker } from "../../test/support/memory-artifact.ts";
import { Random } from "../../test/support/random.ts";
import { TOY_VOCAB, ToyModel, type ToyOptions } from "../../test/support/toy-models.ts";
import type { Adapter } from "../artifact/adapter.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import type { Backend, Lowered } from "./contract.ts";
import { groupStates } from "./groups.ts";
import { ProgramRunner, type Feed } from "./program-runner.ts";
import { createReferenceBackend } from "./reference/backend.ts";

const reference = createReferenceBackend();
const natives = await openIsas(2);
const backends = [reference, ...natives];
after(async () => {
  await Promise.all(natives.map((backend) => backend.close()));
});

const nameOf = (backend: Backend): string => backend.profile("f32");
const OPTIONS = { kv: "f32", context: 96, sequences: 4, maxAdapters: 3, maxRank: 24 } as const;
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const tokensOf = (random: Random, count: number): number[] => upTo(count).map(() => random.below(TOY_VOCAB));

interface Model {
  readonly lowered: Lowered;
  readonly adapter: (seed: number, options?: AdapterOptions, only?: RegExp) => Adapter;
}

function toy(backend: Backend, options: ToyOptions): Model {
  const model = new ToyModel(new TensorMaker(5), options);
  const graph = model.graph();
  const artifact = model.tensors.artifact();
  const all = matricesOf(artifact, /table|router/);
  return {
    lowered: backend.lower(graph, artifact, groupStates([graph], "f32")),
    adapter: (seed, given, only = /./) =>
      randomAdapter(
        seed,
        all.filter(([name]) => only.test(name)),
        given,
      ),
  };
}

async function open(backend: Backend, lowered: Lowered, options: object = OPTIONS): Promise<ProgramRunner> {
  const [runner] = await ProgramRunner.open(backend, [lowered], { ...OPTIONS, ...options });
  return runner ?? assert.fail();
}

async function fill(backend: Backend, runner: ProgramRunner, place: number, adapter: Adapter): Promise<void> {
  const weights = await backend.uploadAdapter(runner.program.lowered, adapter);
  await runner.program.setAdapter(place, weights);
  // The place keeps it alive.
  weights.close();
}

async function logitsOf(runner: ProgramRunner, feeds: readonly Feed[]): Promise<Float32Array> {
  const rows = feeds.reduce((sum, { tokens }) => sum + tokens.length, 0);
  return (await runner.step(feeds, { logits: upTo(rows) })).logits;
}

/** `tolerance`: where activations are rounded, a value between two codes may be rounded either way, once in a while. */
function assertClose(actual: Float32Array, expected: Float32Array, tolerance = 2e-5): void {
  const largest = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  assert.ok(largest > 0 && Number.isFinite(largest));
  const worst = distance(actual, expected);
  assert.ok(worst <= tolerance * largest, `the worst differs by ${worst} of ${largest}`);
}

function distance(a: Float32Array, b: Float32Array): number {
  assert.equal(a.length, b.length);
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - (b[i] ?? NaN))), 0);
}

const KINDS: readonly (readonly [string, AdapterOptions, RegExp])[] = [
  ["all linears, F32", { rank: 4 }, /./],
  ["q and v, F16, rank 8", { rank: 8, dtype: "F16" }, /\.(q|v)$/],
  ["all linears, BF16, rank 24", { rank: 24, dtype: "BF16", scale: 0.1 }, /./],
  ["gains (DoRA)", { rank: 3, gains: true }, /./],
  ["the output matrix alone", { rank: 1 }, /^head$/],
  ["the up half of a gated MLP", { rank: 5 }, /\.up$/],
];

for (const backend of natives) {
  for (const [kind, options, only] of KINDS) {
    test(`${nameOf(backend)}: ${kind}: as in the reference`, async () => {
      for (const toyOptions of [{}, { dtype: "Q8_0" }] as const) {
        const { lowered, adapter } = toy(backend, toyOptions);
        const results: Float32Array[][] = [];
        for (const on of [backend, reference]) {
          const runner = await open(on, lowered);
          await fill(on, runner, 1, adapter(9, options, only));
          const random = new Random(3);
          const steps: Float32Array[] = [];
          for (const count of [40, 1, 3])
            steps.push(await logitsOf(runner, [{ sequence: 0, tokens: tokensOf(random, count), adapter: 1 }]));
          const base = await logitsOf(runner, [{ sequence: 1, tokens: tokensOf(new Random(3), 40) }]);
          // What is compared is mostly the adapter's work.
          assert.ok(distance(steps[0] ?? assert.fail(), base) > 0.5);
          results.push(steps);
          await runner.close();
        }
        for (const [i, logits] of (results[0] ?? []).entries())
          assertClose(logits, results[1]?.[i] ?? assert.fail(), "dtype" in toyOptions ? 1e-2 : 2e-5);
      }
    });
  }
}

/** Two linears with biases over one input, of which one has an odd width; the second graph names rows of one tensor. */
function biased(tensors: TensorMaker, split: boolean): Graph {
  const g = new GraphBuilder("biased");
  const x = g.embed(tensors.tensor("table", "F32", [TOY_VOCAB, 32]));
  if (split) {
    const parent = tensors.tensor("qkv", "F32", [48, 32], 0.3);
    const rows = (rowStart: number, rowCount: number) => ({
      name: `qkv ${rowStart}`,
      shape: [rowCount, 32],
      parts: [{ ...(parent.parts[0] ?? assert.fail()), rowStart, rowCount }],
    });
    const [a, b] = [g.linear(x, rows(32, 16)), g.linear(x, rows(0, 16))];
    return g.finish(g.add(a, b), { contextLength: 96 });
  }
  const a = g.linear(x, tensors.tensor("a", "F32", [32, 32], 0.3), tensors.tensor("a.bias", "F32", [32]));
  const b = g.linear(x, tensors.tensor("b", "F32", [21, 32], 0.3), tensors.tensor("b.bias", "F32", [21]));
  g.output("b", b);
  return g.finish(g.linear(a, tensors.tensor("head", "F32", [TOY_VOCAB, 32], 0.3)), { contextLength: 96 });
}

for (const backend of natives) {
  test(`${nameOf(backend)}: biases and gains, odd widths, rows of one tensor in two linears`, async () => {
    for (const split of [false, true]) {
      const tensors = new TensorMaker(8);
      const graph = biased(tensors, split);
      const changes = matricesOf(tensors.artifact(), /table|bias/);
      const outputs = split ? ["logits"] : ["logits", "b"];
      const lowered = backend.lower(graph, tensors.artifact(), []);
      const [native, expected] = await Promise.all(
        [backend, reference].map(async (on) => {
          const runner = await open(on, lowered, { outputs });
          await fill(on, runner, 0, randomAdapter(4, changes, { rank: 3, gains: true }));
          const named = split ? {} : { b: [4, 1] };
          const feed = { sequence: 0, tokens: [5, 9, 33, 2, 7], adapter: 0 };
          const result = await runner.step([feed], { logits: [0, 3, 2], named });
          await runner.close();
          return result.outputs;
        }),
      );
      for (const [i, values] of (native ?? []).entries()) assertClose(values, expected?.[i] ?? assert.fail());
    }
  });
}

for (const backend of backends) {
  test(`${nameOf(backend)}: two adapters and none in one batch have the bits that each has alone`, async () => {
    for (const options of [{}, { dtype: "Q8_0" }, { experts: true }] as const) {
      const { lowered, adapter } = toy(backend, options);
      const only = "experts" in options ? /\.(q|k|v|o)$/ : /./;
      const adapters = [
        adapter(21, { rank: 8, dtype: "F16" }, only),
        adapter(22, { rank: 3, gains: true }, /\.(q|v|o)$/),
      ];
      // A sequence's adapter, by its number: none, the first, the second, the first again.
      const places = [-1, 2, 0, 2];
      const chunks = [
        [17, 1, 40, 3],
        [1, 35, 1, 1],
        [1, 1, 1, 1],
        [2, 1, 0, 5],
      ];
      const random = new Random(6);
      const prompts = places.map(() => tokensOf(random, 60));
      const feedOf = (sequence: number, from: number, count: number, place: number): Feed => ({
        sequence,
        tokens: (prompts[sequence] ?? []).slice(from, from + count),
        ...(place >= 0 && { adapter: place }),
      });

      const together = await open(backend, lowered);
      for (const [i, place] of [2, 0].entries()) await fill(backend, together, place, adapters[i] ?? assert.fail());
      const found: Float32Array[][] = places.map(() => []);
      for (const counts of chunks) {
        const feeds = counts.flatMap((count, s) =>
          count === 0 ? [] : [feedOf(s, together.length(s), count, places[s] ?? -1)],
        );
        const logits = await logitsOf(together, feeds);
        let row = 0;
        for (const { sequence, tokens } of feeds)
          for (const _ of tokens) found[sequence]?.push(logits.slice(row * TOY_VOCAB, ++row * TOY_VOCAB));
      }
      await together.close();

      const without = await open(backend, lowered, { maxAdapters: 0 });
      const base = await logitsOf(without, [feedOf(0, 0, found[0]?.length ?? 0, -1)]);
      await without.close();
      for (const [s, place] of places.entries()) {
        const alone = await open(backend, lowered, { maxAdapters: 1 });
        if (place >= 0) await fill(backend, alone, 0, adapters[place === 2 ? 0 : 1] ?? assert.fail());
        for (const [i, row] of (found[s] ?? []).entries()) {
          const single = await logitsOf(alone, [feedOf(s, i, 1, place >= 0 ? 0 : -1)]);
          assert.deepEqual(row, single, `sequence ${s}, row ${i}`);
          if (s === 0) assert.deepEqual(row, base.slice(i * TOY_VOCAB, (i + 1) * TOY_VOCAB), `the base, row ${i}`);
        }
        await alone.close();
      }
    }
  });

  test(`${nameOf(backend)}: an adapter comes and goes between steps in flight`, async () => {
    const { lowered, adapter } = toy(backend, {});
    const runner = await open(backend, lowered);
    const [first, second] = await Promise.all(
      [31, 32].map((seed) => backend.uploadAdapter(lowered, adapter(seed, { rank: 8 }))),
    );
    assert.ok(first !== undefined && second !== undefined);
    assert.ok(first.bytes > 0 && first.rank === 8);
    const feed = { sequence: 0, tokens: [3, 1, 4, 1, 5], adapter: 0 };
    const wanted = { logits: [4] };
    const alone: Float32Array[] = [];
    for (const weights of [first, second]) {
      await runner.program.setAdapter(0, weights);
      alone.push((await runner.step([feed], wanted)).logits);
      runner.restart();
    }
    assert.notDeepEqual(alone[0], alone[1]);

    // Two steps are submitted, each with what the place held then; nobody waits in between.
    void runner.program.setAdapter(0, first);
    const one = runner.submit([feed], wanted);
    void runner.program.setAdapter(0, second);
    first.close();
    runner.restart();
    const two = runner.submit([{ ...feed, sequence: 1 }], wanted);
    const dropped = runner.program.setAdapter(0, undefined);
    second.close();
    assert.deepEqual((await one.result).logits, alone[0]);
    assert.deepEqual((await two.result).logits, alone[1]);
    await dropped;
    await assert.rejects(runner.step([feed], wanted), /adapter/);
    // Who has none isn't concerned.
    assert.ok((await logitsOf(runner, [{ sequence: 2, tokens: [1] }])).every(Number.isFinite));
    await runner.close();
  });

  test(`${nameOf(backend)}: what doesn't fit is refused`, async () => {
    const { lowered, adapter } = toy(backend, {});
    const runner = await open(backend, lowered);
    const { program } = runner;
    const good = adapter(41, { rank: 4 });
    const odd = randomAdapter(42, [["0.q", 128, 32]]);
    await assert.rejects(backend.uploadAdapter(lowered, odd), /0\.q \[128, 64\]; was the adapter made for another/);
    await assert.rejects(
      backend.uploadAdapter(lowered, randomAdapter(1, [["table", TOY_VOCAB, 64]])),
      /no linear layer/,
    );
    const large = await backend.uploadAdapter(lowered, adapter(43, { rank: 25 }));
    await assert.rejects(program.setAdapter(0, large), /rank 25.* 24/);
    const fits = await backend.uploadAdapter(lowered, good);
    await assert.rejects(program.setAdapter(3, fits), /no place 3/);
    await assert.rejects(runner.step([{ sequence: 0, tokens: [1], adapter: 0 }]), /adapter/);
    await assert.rejects(runner.step([{ sequence: 0, tokens: [1], adapter: 3 }]), /adapter/);
    large.close();
    fits.close();
    await runner.close();
  });
}
