/**
 * check:exact's drafts: for a workload either one drafter that guesses wildly for all, or every method by name, another one for
 * each request, alone and joined, of fixed depth and as it pays, with a model that drafts, texts on disk (in memory here)
 * and predictions that are partly right. They know the right answers, or next to nothing would ever be accepted.
 */
import type { ModelArtifact } from "../src/artifact/artifact.ts";
import { buildDatastore, vocabularyOf, type WordReader } from "../src/decode/speculative/datastore.ts";
import { METHOD_NAMES, type MethodName, type ModelMethod, TEXT_METHODS } from "../src/decode/speculative/methods.ts";
import { createTokenizer } from "../src/tokenizer/tokenizer.ts";
import type { Random } from "../test/support/random.ts";
import { RECURRENT_HEADS, tinyHead } from "../test/support/tiny-heads.ts";
import { Guesser } from "../test/support/whimsical.ts";
import type { EngineShape, Job, Outcome } from "../test/support/workload.ts";

export interface Drafts {
  readonly engine: Partial<EngineShape>;
  /** The jobs, each with its way of drafting. */
  readonly jobs: readonly Job[];
  /** Memory that the model which drafts takes, as a multiple. */
  readonly memory: number;
  /** Adds what was drafted to the counts, by method. */
  count(outcomes: readonly (Outcome | undefined)[], counts: Record<string, number>): void;
}

export function noDraftCounts(): Record<string, number> {
  const names = [...METHOD_NAMES, "several methods", "a prediction", "whatever"];
  return Object.fromEntries(names.map((name) => [`drafted by ${name}`, 0]));
}

/** `known`: right answers, prompts included, by job. */
export function randomDrafts(
  random: Random,
  artifact: ModelArtifact,
  jobs: readonly Job[],
  known: readonly (readonly (readonly number[])[])[],
  vocab: number,
): Drafts {
  if (random.below(3) === 0) {
    const drafter = new Guesser(random, known.flat(), vocab);
    return {
      engine: { drafter },
      jobs,
      memory: 1,
      count: (_, counts) => add(counts, "whatever", drafter.nodes),
    };
  }
  // A twin drafts well; what has other states than a KV cache can't. Heads are made for the tiny models' layout.
  const withModel = artifact.name.includes("llama") && random.below(2) === 0;
  const heads = withModel ? RECURRENT_HEADS.filter(() => random.below(3) === 0) : [];
  const models: readonly ModelMethod[] = withModel ? ["draft", "skip", ...heads] : [];
  const methods: readonly MethodName[] = [...TEXT_METHODS, ...models];
  const names: string[] = [];
  const drafted = jobs.map((job, j): Job => {
    if (job.kind !== "generate") return job;
    const some = methods.filter(() => random.below(3) === 0);
    const name =
      random.below(2) === 0
        ? (methods[random.below(methods.length)] ?? "off")
        : some.length === 0
          ? "off"
          : some.join("+");
    const depth = random.below(4) === 0 ? undefined : random.between(1, 12);
    const answer = known[j]?.[0]?.slice(job.prompt.length) ?? [];
    const isPredicted = answer.length > 0 && name !== "off" && random.below(4) === 0;
    names[j] = isPredicted ? "a prediction" : name.includes("+") ? "several methods" : name;
    const prediction = answer.map((id) => (random.below(6) === 0 ? random.below(vocab) : id));
    const speculation = { drafter: name, tree: random.between(1, 24), ...(depth !== undefined && { depth }) };
    return { ...job, options: { ...job.options, speculation, ...(isPredicted && { prediction }) } };
  });
  const drafting = models.map((method) => ({
    artifact: method === "skip" ? undefined : method === "draft" ? artifact : tinyHead(method, 1 + random.below(1000)),
    skip: [random.below(2)],
    method,
    depth: random.between(1, 6),
    minProbability: random.pick([1e-6, 0.1]),
    beam: random.between(1, 4),
  }));
  return {
    engine: {
      speculation: { drafter: methods.join("+"), tree: 24 },
      datastore: inMemory(artifact, [[0, 1], ...known.flat()]),
      ...(withModel && { drafting }),
    },
    jobs: drafted,
    memory: withModel ? 2.2 + 3 * heads.length : 1,
    count(outcomes, counts) {
      for (const [j, outcome] of outcomes.entries()) add(counts, names[j] ?? "off", outcome?.drafted ?? 0);
    },
  };
}

function add(counts: Record<string, number>, name: string, count: number): void {
  if (name !== "off") counts[`drafted by ${name}`] = (counts[`drafted by ${name}`] ?? 0) + count;
}

function inMemory(artifact: ModelArtifact, texts: readonly (readonly number[])[]): WordReader {
  const tokenizer = createTokenizer(artifact.tokenizer);
  const vocabulary = vocabularyOf(tokenizer.vocabSize, (id) => tokenizer.tokenText(id));
  const parts = buildDatastore(
    texts.map((text) => Int32Array.from(text)),
    vocabulary,
  );
  const words = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) {
    words.set(part, end);
    end += part.length;
  }
  return { length: words.length, read: (first, count) => words.slice(first, first + count), close: () => undefined };
}
