/**
 * Recurrent state, on every backend: however a sequence is cut into steps, forked, rolled back, drafted as a tree and
 * accepted, with all granules kept or only the last, its rows have the bits of one token a step.
 */
import assert from "node:assert/strict";
import test, { after } from "node:test";
import { openIsas } from "../../test/support/backends.ts";
import { TensorMaker } from "../../test/support/memory-artifact.ts";
import { Random } from "../../test/support/random.ts";
import { TOY_VOCAB, ToyModel } from "../../test/support/toy-models.ts";
import { StepError } from "../errors.ts";
import { BORDER_TOKENS, type Backend } from "./contract.ts";
import { ProgramRunner } from "./program-runner.ts";
import { createReferenceBackend } from "./reference/backend.ts";
import { StepPlanBuffer } from "./step-plan.ts";

const CONTEXT = 320;
const LENGTH = 3 * BORDER_TOKENS + 9;
const RULES = ["plain", "delta", "selective", "wkv", "matrix", "bonus"] as const;
const backends = [createReferenceBackend(), ...(await openIsas(2))];
after(async () => {
  await Promise.all(backends.map((backend) => backend.close()));
});

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const randomTokens = (random: Random, count: number): number[] => upTo(count).map(() => random.below(TOY_VOCAB));

async function open(backend: Backend, recurrent: (typeof RULES)[number]): Promise<ProgramRunner> {
  const toy = new ToyModel(new TensorMaker(3), { recurrent });
  const options = { kv: "f16", context: CONTEXT, sequences: 2 } as const;
  return ProgramRunner.create(backend, toy.tensors.artifact(), toy.graph([0, 1, 3]), options);
}

function rowsOf(logits: Float32Array): Float32Array[] {
  return Array.from({ length: logits.length / TOY_VOCAB }, (_, i) => logits.slice(i * TOY_VOCAB, (i + 1) * TOY_VOCAB));
}

/** All rows of a sequence's next tokens. */
async function feed(
  runner: ProgramRunner,
  tokens: readonly number[],
  options: { readonly sequence?: number; readonly sparse?: boolean; readonly parents?: readonly number[] } = {},
): Promise<Float32Array[]> {
  const { logits } = await runner.step([{ sequence: 0, tokens, ...options }], { logits: upTo(tokens.length) });
  return rowsOf(logits);
}

/** The oracle: one token a step. */
async function oneByOne(runner: ProgramRunner, tokens: readonly number[], sequence = 0): Promise<Float32Array[]> {
  const rows: Float32Array[] = [];
  for (const token of tokens) rows.push(...(await feed(runner, [token], { sequence })));
  return rows;
}

function pathTo(parents: readonly number[], node: number): number[] {
  const parent = parents[node] ?? -1;
  return parent < 0 ? [node] : [...pathTo(parents, parent), node];
}

for (const backend of backends) {
  for (const rule of RULES) {
    const name = `${backend.profile("f16")}, ${rule}`;

    test(`${name}: the chunks of a prefill change no bit, nor which granules are kept`, async () => {
      const runner = await open(backend, rule);
      const random = new Random(11);
      const tokens = randomTokens(random, LENGTH);
      const expected = await oneByOne(runner, tokens);
      assert.ok(expected.every((row) => row.every(Number.isFinite)));
      for (let round = 0; round < (backend.name === "reference" ? 2 : 6); round++) {
        runner.restart();
        const sparse = round % 2 === 1;
        const rows: Float32Array[] = [];
        while (rows.length < LENGTH) {
          const count = round === 0 ? LENGTH : Math.min(LENGTH - rows.length, random.between(1, 90));
          rows.push(...(await feed(runner, tokens.slice(rows.length, rows.length + count), { sparse })));
        }
        assert.deepEqual(rows, expected, `round ${round}`);
      }
      await runner.close();
    });

    test(`${name}: a rollback is a truncation, and a fork goes on alike`, async () => {
      const runner = await open(backend, rule);
      const random = new Random(12);
      const tokens = randomTokens(random, LENGTH);
      const expected = await feed(runner, tokens);
      for (const length of [LENGTH - 1, 2 * BORDER_TOKENS + 1, 2 * BORDER_TOKENS, 2 * BORDER_TOKENS - 1, 30, 0]) {
        // What stood there before is of other tokens.
        await feed(runner, randomTokens(random, 20));
        runner.truncate(0, length);
        runner.fork(0, 1);
        const next = tokens.slice(length, length + 40);
        const forked = await feed(runner, next, { sequence: 1 });
        assert.deepEqual(forked, expected.slice(length, length + 40), `a fork at ${length}`);
        assert.deepEqual(await feed(runner, next), forked, `from ${length}`);
      }
      await runner.close();
    });

    test(`${name}: every node of a tree is its path run alone, also over borders`, async () => {
      const runner = await open(backend, rule);
      const random = new Random(13);
      const prefix = randomTokens(random, LENGTH);
      await feed(runner, prefix);
      // The reference takes seconds for what the others do at once.
      const around = upTo(backend.name === "reference" ? 2 : 7).map((i) => 3 * BORDER_TOKENS + 1 - 2 * i);
      for (const length of [LENGTH, ...around, 61, 3]) {
        runner.truncate(0, length);
        const nodes = random.between(6, 40);
        const parents = upTo(nodes).map((node) =>
          random.below(5) === 0 ? -1 : Math.max(-1, node - 1 - random.below(3)),
        );
        const tokens = randomTokens(random, nodes);
        const found = await feed(runner, tokens, { parents });
        for (const leaf of upTo(nodes).filter((node) => !parents.includes(node))) {
          const path = pathTo(parents, leaf);
          runner.fork(0, 1);
          const alone = await feed(
            runner,
            path.map((node) => tokens[node] ?? -1),
            { sequence: 1 },
          );
          for (const [depth, node] of path.entries())
            assert.deepEqual(found[node], alone[depth], `prefix ${length}, node ${node} of ${nodes}`);
        }
      }
      await runner.close();
    });

    test(`${name}: accepted nodes pass borders, and the sequence goes on as if it had been fed them`, async () => {
      const runner = await open(backend, rule);
      const random = new Random(14);
      let tokens = randomTokens(random, BORDER_TOKENS - 3);
      await feed(runner, tokens);
      while (tokens.length < 4 * BORDER_TOKENS) {
        const parents = upTo(random.between(4, 30)).map((node) => node - 1);
        const drafted = randomTokens(random, parents.length);
        // A second root, so that it is no chain.
        await feed(runner, [...drafted, 5], { parents: [...parents, -1] });
        const accepted = upTo(random.between(1, parents.length));
        runner.accept(0, accepted);
        tokens = [...tokens, ...accepted.map((node) => drafted[node] ?? -1)];
        if (random.below(3) === 0) continue;
        const next = randomTokens(random, random.between(1, 3));
        const rows = await feed(runner, next);
        tokens = [...tokens, ...next];
        runner.truncate(1, 0);
        const alone = await feed(runner, tokens, { sequence: 1 });
        assert.deepEqual(rows, alone.slice(-next.length), `after ${tokens.length} tokens`);
      }
      await runner.close();
    });

    test(`${name}: sequences in one step leave each other alone`, async () => {
      const runner = await open(backend, rule);
      const random = new Random(15);
      const both = [randomTokens(random, 150), randomTokens(random, 150)] as const;
      const expected = [await feed(runner, both[0]), await feed(runner, both[1], { sequence: 1 })];
      runner.restart();
      const found: Float32Array[][] = [[], []];
      while (both.some((tokens, s) => (found[s]?.length ?? 0) < tokens.length)) {
        const feeds = both.flatMap((tokens, sequence) => {
          const done = found[sequence]?.length ?? 0;
          const next = tokens.slice(done, done + random.between(1, 50));
          return next.length === 0 ? [] : [{ sequence, tokens: next }];
        });
        const count = feeds.reduce((sum, { tokens }) => sum + tokens.length, 0);
        const rows = rowsOf((await runner.step(feeds, { logits: upTo(count) })).logits);
        for (const { sequence, tokens } of feeds) found[sequence]?.push(...rows.splice(0, tokens.length));
      }
      assert.deepEqual(found, expected);
      await runner.close();
    });
  }

  test(`${backend.profile("f16")}: a plan whose borders don't fit is refused`, async () => {
    const runner = await open(backend, "plain");
    const { memory, program } = runner;
    const random = new Random(16);
    await feed(runner, randomTokens(random, 2 * BORDER_TOKENS + 20));
    const group = memory.pool.groups.findIndex(({ kind }) => kind === "recurrent");
    /** Rows from a place on, with a granule for each of the borders. */
    const run = (
      place: number,
      rows: number,
      border: number,
      borders: readonly number[],
      twice = false,
    ): Promise<unknown> => {
      const plan = new StepPlanBuffer({ ...runner.options, groups: memory.pool.groups.length, context: CONTEXT });
      plan.id = memory.nextStep();
      const tables = memory.tables(0, place, borders);
      const granules = tables[group];
      assert.ok(granules !== undefined);
      if (twice) granules[border] = granules[border - 1] ?? -1;
      plan.addSequence(tables, border);
      plan.addRows(randomTokens(random, rows), place);
      return program.run(plan).result;
    };
    const refused = (...given: Parameters<typeof run>): Promise<void> =>
      assert.rejects(run(...given), (error) => !(error instanceof StepError));
    await refused(140, 2, 1, [2]);
    await refused(140, 2, 3, [1, 2, 3]);
    await refused(140, 2, -1, [1, 2]);
    await refused(140, 2, 0, [1, 2]);
    await refused(140, 2, 9999, [1, 2]);
    await refused(120, 40, 1, [1, 2], true);
    await run(140, 2, 1, [1, 2]);
    await run(140, 2, 2, [2]);
    await runner.close();
  });
}
