/**
 * What a row sees, on every backend: drafted trees with prefixes at every offset around a tile border, moves of accepted
 * slots, chains at their places, spans that see what lies behind them. The oracle of a tree is its paths, each run alone
 * as a plain sequence: the same bits. The oracle of a span is the formula, written out here.
 */
import assert from "node:assert/strict";
import test, { after } from "node:test";
import { openBackends } from "../../test/support/backends.ts";
import { TensorMaker } from "../../test/support/memory-artifact.ts";
import { KV_TYPES } from "../../test/support/formats.ts";
import { Random } from "../../test/support/random.ts";
import { TOY_VOCAB, ToyModel, type ToyOptions } from "../../test/support/toy-models.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { TILE_TOKENS, type Backend, type KvType } from "./contract.ts";
import { ProgramRunner } from "./program-runner.ts";

const CONTEXT = 288;
const backends = await openBackends();
after(async () => {
  await Promise.all(backends.map((backend) => backend.close()));
});

const VARIANTS: readonly (ToyOptions & { readonly name: string })[] = [
  { name: "plain" },
  { name: "int8 weights", dtype: "Q8_0" },
  { name: "a window shorter than the tree", window: 4 },
  { name: "a window over the tile border", window: 20 },
  { name: "soft cap, a head of its own for each query", softcap: 3, kvHeads: 4 },
  { name: "experts", experts: true },
  { name: "a latent for all heads", latent: true, dtype: "Q8_0" },
  { name: "sinks and slopes", biased: true },
];

async function openToy(backend: Backend, kv: KvType, options: ToyOptions): Promise<ProgramRunner> {
  const toy = new ToyModel(new TensorMaker(3), options);
  const graph = toy.graph();
  return ProgramRunner.create(backend, toy.tensors.artifact(), graph, { kv, context: CONTEXT, sequences: 2 });
}

function rowsOf(logits: Float32Array): Float32Array[] {
  return Array.from({ length: logits.length / TOY_VOCAB }, (_, i) => logits.slice(i * TOY_VOCAB, (i + 1) * TOY_VOCAB));
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const randomTokens = (random: Random, count: number): number[] => upTo(count).map(() => random.below(TOY_VOCAB));

/** A random tree: parents before children; some bushy, some deep. */
function randomParents(random: Random, nodes: number): number[] {
  const back = random.pick([2, 6, 64]);
  return upTo(nodes).map((node) => (random.below(6) === 0 ? -1 : Math.max(-1, node - 1 - random.below(back))));
}

function pathTo(parents: readonly number[], node: number): number[] {
  const parent = parents[node] ?? -1;
  return parent < 0 ? [node] : [...pathTo(parents, parent), node];
}

/** Sequence 1 takes sequence 0's first tokens over and computes a path's, as a plain continuation. */
async function pathAlone(runner: ProgramRunner, tokens: readonly number[]): Promise<Float32Array[]> {
  runner.fork(0, 1);
  const { logits } = await runner.step([{ sequence: 1, tokens }], { logits: upTo(tokens.length) });
  return rowsOf(logits);
}

for (const backend of backends) {
  for (const { name, ...options } of VARIANTS) {
    test(`${backend.name}: every node of a tree is its path run alone (${name})`, async () => {
      for (const kv of KV_TYPES) {
        const runner = await openToy(backend, kv, options);
        const random = new Random(41);
        const prefix = randomTokens(random, TILE_TOKENS + 8);
        await runner.step([{ sequence: 0, tokens: prefix }]);
        for (let length = TILE_TOKENS + 8; length >= TILE_TOKENS - 8; length--) {
          runner.truncate(0, length);
          // The largest, the smallest, and some between.
          const nodes = length === TILE_TOKENS ? 64 : length === TILE_TOKENS + 1 ? 1 : random.between(2, 40);
          const parents = randomParents(random, nodes);
          const tokens = randomTokens(random, nodes);
          const tree = { sequence: 0, tokens, parents };
          // A plain row of another sequence in the same step harms nobody.
          runner.truncate(1, 0);
          const { logits } = await runner.step([tree, { sequence: 1, tokens: [7] }], { logits: upTo(nodes) });
          assert.ok(logits.every(Number.isFinite));
          const found = rowsOf(logits);
          const leaves = upTo(nodes).filter((node) => !parents.includes(node));
          for (const leaf of leaves) {
            const path = pathTo(parents, leaf);
            const alone = await pathAlone(
              runner,
              path.map((node) => tokens[node] ?? -1),
            );
            for (const [depth, node] of path.entries())
              assert.deepEqual(found[node], alone[depth], `KV ${kv}, prefix ${length}, node ${node} of ${nodes}`);
          }
        }
        await runner.close();
      }
    });
  }

  test(`${backend.name}: a sequence goes on from accepted nodes as if it had been fed them`, async () => {
    for (const kv of KV_TYPES) {
      const runner = await openToy(backend, kv, { window: 10, dtype: "Q8_0" });
      const random = new Random(43);
      let tokens = randomTokens(random, TILE_TOKENS - 9);
      await runner.step([{ sequence: 0, tokens }]);
      for (let round = 0; round < 8; round++) {
        const parents = randomParents(random, random.between(5, 24));
        const drafted = parents.map(() => random.below(TOY_VOCAB));
        await runner.step([{ sequence: 0, tokens: drafted, parents }]);
        const path = pathTo(parents, random.below(parents.length));
        const accepted = path.slice(0, random.between(1, path.length));
        runner.accept(0, accepted);
        tokens = [...tokens, ...accepted.map((node) => drafted[node] ?? -1)];
        // Moves go with the next rows, or in a plan of their own.
        if (round % 2 === 0) await runner.step([]);
        const next = randomTokens(random, 3);
        const moved = await runner.step([{ sequence: 0, tokens: next }], { logits: [0, 1, 2] });
        tokens = [...tokens, ...next];
        runner.truncate(1, 0);
        const last = [tokens.length - 3, tokens.length - 2, tokens.length - 1];
        const alone = await runner.step([{ sequence: 1, tokens }], { logits: last });
        assert.deepEqual(moved.logits, alone.logits, `KV ${kv}, round ${round}`);
      }
      await runner.close();
    }
  });

  test(`${backend.name}: a rejected chain leaves nothing behind`, async () => {
    const runner = await openToy(backend, "f16", { window: 10 });
    const random = new Random(47);
    await runner.step([{ sequence: 0, tokens: randomTokens(random, 30) }]);
    runner.fork(0, 1);
    await runner.step([{ sequence: 0, tokens: randomTokens(random, 9) }]);
    runner.truncate(0, 30);
    const feeds = [0, 1].map((sequence) => ({ sequence, tokens: [5, 6, 7] }));
    const { logits } = await runner.step(feeds, { logits: upTo(6) });
    const rows = rowsOf(logits);
    assert.deepEqual(rows.slice(0, 3), rows.slice(3));
    await runner.close();
  });
}

// --- Spans: rows that see what lies behind them. --------------------------------------------------------------------

const SPAN = { heads: 2, dim: 32, scale: 0.3 };

/** Attention alone over exact columns, so that the formula is all there is. */
function attentionGraph(tensors: TensorMaker, window: number | undefined): { graph: Graph; table: Float32Array } {
  const width = 3 * SPAN.heads * SPAN.dim;
  const random = new Random(51);
  const table = Float32Array.from({ length: TOY_VOCAB * width }, () => random.normal());
  const g = new GraphBuilder("span");
  const x = g.embed(tensors.values("table", "F32", [TOY_VOCAB, width], [...table]));
  const shape = { name: "layer 0", kvHeads: SPAN.heads, keyDim: SPAN.dim, valueDim: SPAN.dim };
  const state = g.state(window === undefined ? { ...shape, kind: "kv" } : { ...shape, kind: "window-kv", window });
  const [q = 0, k = 0, v = 0] = [0, 1, 2].map((part) => g.slice(x, (part * width) / 3, width / 3));
  const y = g.attention(q, k, v, { state, heads: SPAN.heads, scale: SPAN.scale });
  return { graph: g.finish(y, { contextLength: CONTEXT }), table };
}

/** The row at `place` over the keys `first … end − 1` of a sequence, in float64. */
function attendByHand(
  table: Float32Array,
  tokens: readonly number[],
  place: number,
  first: number,
  end: number,
): number[] {
  const { heads, dim, scale } = SPAN;
  const at = (p: number, part: number, head: number, column: number): number =>
    table[(tokens[p] ?? 0) * 3 * heads * dim + part * heads * dim + head * dim + column] ?? NaN;
  const out: number[] = [];
  for (let head = 0; head < heads; head++) {
    const weights = upTo(end - first).map((i) => {
      const dot = upTo(dim).reduce((sum, c) => sum + at(place, 0, head, c) * at(first + i, 1, head, c), 0);
      return Math.exp(scale * dot);
    });
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (const c of upTo(dim)) {
      const sum = weights.reduce((partial, weight, i) => partial + weight * at(first + i, 2, head, c), 0);
      out.push(sum / total);
    }
  }
  return out;
}

for (const backend of backends) {
  for (const window of [undefined, 12]) {
    const name = window === undefined ? "no window" : `a window of ${window}`;
    test(`${backend.name}: an encoder's rows see the whole sequence, an image's all of the image (${name})`, async () => {
      const tensors = new TensorMaker(1);
      const { graph, table } = attentionGraph(tensors, window);
      const options = { kv: "f32", context: CONTEXT, sequences: 2 } as const;
      const runner = await ProgramRunner.create(backend, tensors.artifact(), graph, options);
      const random = new Random(53);
      const tokens = randomTokens(random, 160);
      const width = SPAN.heads * SPAN.dim;
      const check = (values: Float32Array, from: number, count: number, endOf: (place: number) => number): void => {
        for (const i of upTo(count)) {
          const place = from + i;
          const first = Math.max(0, place - (window ?? Infinity) + 1);
          const expected = attendByHand(table, tokens, place, first, endOf(place));
          for (const [c, x] of expected.entries()) {
            const found = values[i * width + c] ?? NaN;
            assert.ok(Math.abs(found - x) < 1e-5, `place ${place}, column ${c}: ${found}, by hand ${x}`);
          }
        }
      };
      // An encoder: one sequence of 140 tokens.
      const whole = { sequence: 0, tokens: tokens.slice(0, 140), span: true };
      const encoded = await runner.step([whole], { logits: upTo(140) });
      check(encoded.logits, 0, 140, () => 140);
      // Beside another sequence: the same bits.
      runner.restart();
      const beside = await runner.step([{ sequence: 1, tokens: [1, 2, 3] }, whole], {
        logits: upTo(140).map((i) => 3 + i),
      });
      assert.deepEqual(beside.logits, encoded.logits);
      // Text, an image, text.
      runner.restart();
      const before = await runner.step([{ sequence: 0, tokens: tokens.slice(0, 100) }], { logits: upTo(100) });
      check(before.logits, 0, 100, (place) => place + 1);
      const image = { sequence: 0, tokens: tokens.slice(100, 140), span: true };
      check((await runner.step([image], { logits: upTo(40) })).logits, 100, 40, () => 140);
      const text = { sequence: 0, tokens: tokens.slice(140) };
      check((await runner.step([text], { logits: upTo(20) })).logits, 140, 20, (place) => place + 1);
      await runner.close();
    });
  }
}
