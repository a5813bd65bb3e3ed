/** Speculation on the toy program: whatever is drafted, and whoever waits for whom, the answers are those without. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GREEDY } from "../backend/program-runner.ts";
import { Random } from "../../test/support/random.ts";
import { TOY_OUTPUTS, TOY_VOCAB, ToyProgram } from "../../test/support/toy-program.ts";
import { Guesser } from "../../test/support/whimsical.ts";
import { chain } from "../decode/speculative/draft-tree.ts";
import type { Drafter, DraftMethod } from "../decode/speculative/drafter.ts";
import type { MethodName } from "../decode/speculative/methods.ts";
import { DEFAULT_NODES, type SpeculationPlan } from "../decode/speculative/option.ts";
import { type DraftCounts, perform, type Work } from "./client.ts";
import { Engine } from "./engine.ts";
import { FirstCome } from "./policies/first-come.ts";
import { Speculation } from "./speculation.ts";

const MAX_DRAFT = 12;

function makeEngine(method: DraftMethod, plan: SpeculationPlan): { engine: Engine; program: ToyProgram } {
  const program = new ToyProgram([300, 300, 300]);
  const limits = {
    stepTokens: 64,
    maxSequences: 8,
    maxOutputs: 60,
    maxListed: 400,
    maxDraft: MAX_DRAFT,
    treeSlots: 2 * MAX_DRAFT,
    context: 512,
    depth: 2,
  };
  const speculation = new Speculation({
    methods: new Map<MethodName, DraftMethod>([["ngram", method]]),
    models: [],
    plan,
    nodes: MAX_DRAFT,
    limits,
  });
  const parts = { program, limits, outputs: TOY_OUTPUTS, policy: new FirstCome(), prefixCache: true };
  return { engine: new Engine({ ...parts, speculation }), program };
}

function job(seed: number, maxTokens = 40, wish: Partial<Work["generate"]> = {}): Work {
  const prompt = Int32Array.from({ length: 5 + (seed % 7) }, (_, i) => (3 * i + seed) % TOY_VOCAB);
  const samplers = [{ ...GREEDY, seed: BigInt(seed) }];
  return { prompt, generate: { maxTokens, samplers, stopIds: new Int32Array(), topLogprobs: 0, ...wish } };
}

async function collect(engine: Engine, work: Work): Promise<{ tokens: number[]; drafts: DraftCounts }> {
  const tokens: number[] = [];
  const { drafts } = await perform(engine, work, undefined, (event) => {
    if (event.type === "tokens") tokens.push(...event.tokens.map(({ id }) => id));
  });
  return { tokens, drafts };
}

const SILENT: DraftMethod = { follow: () => ({ propose: () => undefined }) };
const ADAPTIVE: SpeculationPlan = { methods: ["ngram"], nodes: DEFAULT_NODES };
const FIXED: SpeculationPlan = { ...ADAPTIVE, depth: 4 };

async function plainAnswers(works: readonly Work[]): Promise<number[][]> {
  const { engine } = makeEngine(SILENT, ADAPTIVE);
  const answers: number[][] = [];
  for (const work of works) answers.push((await collect(engine, work)).tokens);
  return answers;
}

/** Always goes on as one of the texts does, or as none. */
function knower(works: readonly Work[], answers: readonly (readonly number[])[], lie = false): DraftMethod {
  const texts = works.map(({ prompt }, i) => [...prompt, ...(answers[i] ?? [])]);
  const drafter: Drafter = {
    propose(tokens, room) {
      const text = texts.find((ids) => tokens.every((id, i) => ids[i] === id)) ?? [];
      const next = text.slice(tokens.length, tokens.length + room);
      const ahead = lie ? next.map((id) => (id + 1) % TOY_VOCAB) : next;
      return chain(
        ahead,
        ahead.map(() => 0.95),
      );
    },
  };
  return { follow: () => drafter };
}

test("who knows the answer gets depth + 1 tokens a step, who lies one; the answers are the same", async () => {
  const works = [job(1, 41)];
  const [answer = []] = await plainAnswers(works);
  const right = await collect(makeEngine(knower(works, [answer]), FIXED).engine, works[0] ?? job(1));
  assert.deepEqual(right.tokens, answer);
  // One behind the prompt, then five a step.
  assert.deepEqual(right.drafts, { steps: 9, drafted: 32, accepted: 32, predicted: { drafted: 0, accepted: 0 } });
  const wrong = await collect(makeEngine(knower(works, [answer], true), FIXED).engine, works[0] ?? job(1));
  assert.deepEqual(wrong.tokens, answer);
  assert.equal(wrong.drafts.steps, 41);
  assert.equal(wrong.drafts.accepted, 0);
});

test("requests together, drafting as it pays, always, from a prediction or not at all, get what they get alone", async () => {
  const works = Array.from({ length: 8 }, (_, i) => job(i + 1));
  const answers = await plainAnswers(works);
  const random = new Random(4);
  const known = works.map(({ prompt }, i) => [...prompt, ...(answers[i] ?? [])]);
  for (const method of [knower(works, answers), { follow: () => new Guesser(random, known, TOY_VOCAB) }]) {
    const { engine } = makeEngine(method, ADAPTIVE);
    const wishes = works.map(({ prompt, generate }, i): Work => {
      assert.ok(generate);
      const speculation = [ADAPTIVE, FIXED, { ...FIXED, methods: [] }][i % 3] ?? ADAPTIVE;
      const prediction = i % 4 === 1 ? Int32Array.from(answers[i] ?? []) : undefined;
      return { prompt, generate: { ...generate, speculation, ...(prediction && { prediction }) } };
    });
    const together = await Promise.all(wishes.map((work) => collect(engine, work)));
    assert.deepEqual(
      together.map(({ tokens }) => tokens),
      answers,
    );
    for (const [i, { drafts }] of together.entries()) if (i % 3 === 2) assert.equal(drafts.drafted, 0);
    assert.ok(together[1] && together[1].drafts.predicted.accepted > 20, JSON.stringify(together[1]?.drafts));
    const { drafts, blocks } = engine.stats();
    assert.ok(drafts.reduce((sum, { accepted }) => sum + accepted, 0) > 40);
    for (const { used } of blocks) assert.equal(used, 0);
  }
});

test("while nobody drafts two steps are in flight; behind a draft the next step waits", async () => {
  const works = [job(2, 60)];
  const [answer = []] = await plainAnswers(works);
  const plain = makeEngine(SILENT, ADAPTIVE);
  await collect(plain.engine, job(2, 60));
  assert.ok(plain.program.used.inFlight > 50, `${plain.program.used.inFlight}`);
  const drafting = makeEngine(knower(works, [answer]), FIXED);
  await collect(drafting.engine, job(2, 60));
  assert.ok(drafting.program.used.inFlight <= 1, `${drafting.program.used.inFlight}`);
});

test("drafters learn what was sampled at every node, and what a sequence became", async () => {
  const heard: string[] = [];
  const method: DraftMethod = {
    follow: ({ prompt, tenant }) => ({
      propose: () => ({ tokens: [1, 2, 3], parents: [-1, -1, 0], chances: [0.5, 0.5, 0.5] }),
      learn: (draft, sampleAt) => {
        heard.push([-1, ...draft.tokens.keys()].map(sampleAt).join());
      },
      end: (tokens) => {
        heard.push(`${tenant} ${tokens.length - prompt.length}`);
      },
    }),
  };
  const { engine } = makeEngine(method, { ...FIXED, depth: 2 });
  const { tokens } = await collect(engine, { ...job(3, 6), cacheSalt: "mine" });
  assert.equal(heard.at(-1), "mine 6");
  assert.equal(heard[0]?.split(",")[0], String(tokens[1]));
  // The last one reaches only as far as the answer may.
  assert.ok(
    heard.slice(0, -2).every((line) => /^\d+,\d+,\d+,\d+$/.test(line)),
    heard.join("; "),
  );
});
