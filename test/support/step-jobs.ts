/**
 * Answers for the random workloads of step-workload.ts, and what they must be: each told alone, one token a step, its
 * sampler slot opened once and every token committed, on a backend of its own.
 */
import type { Adapter } from "../../src/artifact/adapter.ts";
import type { AdapterWeights, Backend, KvType, Lowered, Program, SamplerParams } from "../../src/backend/contract.ts";
import { groupStates } from "../../src/backend/groups.ts";
import { ProgramRunner } from "../../src/backend/program-runner.ts";
import { matricesOf, randomAdapter } from "./adapters.ts";
import { TensorMaker } from "./memory-artifact.ts";
import { Random } from "./random.ts";
import { TOY_VOCAB, ToyModel, type ToyOptions } from "./toy-models.ts";

/** Places of a sequence: prompt, answer, and a drafted tree behind them. */
export const STEP_CONTEXT = 320;

/** More places than adapters, so that one can come before it leaves. */
export const ADAPTER_PLACES = { maxAdapters: 4, maxRank: 8 };

export interface StepJob {
  readonly prompt: readonly number[];
  readonly params: Partial<SamplerParams>;
  /** Tokens of the answer. */
  readonly length: number;
  /** The mask of the answer's i-th token is a function of this and i; undefined: no masks. */
  readonly maskSeed: number | undefined;
  /** Which of the model's adapters; −1: none. */
  readonly adapter: number;
}

export interface Told {
  readonly ids: readonly number[];
  /** For each position of prompt and answer (its last token aside): the model's logits, and the draft's. */
  readonly logits: readonly Float32Array[];
  readonly draftLogits: readonly Float32Array[];
}

export function randomStepJobs(random: Random, count: number): StepJob[] {
  return Array.from({ length: count }, (_, i): StepJob => {
    const longest = random.below(3) === 0 ? 170 : 40;
    return {
      prompt: Array.from({ length: random.between(1, longest) }, () => random.below(TOY_VOCAB)),
      params: {
        temperature: random.pick([0, 0.8, 1.3]),
        topK: random.pick([0, 0, 20]),
        topP: random.pick([1, 0.9]),
        repetitionPenalty: random.pick([1, 1.2]),
        presencePenalty: random.pick([0, 0.6]),
        frequencyPenalty: random.pick([0, 0.4]),
        minTokens: random.pick([0, 6]),
        stopIds: Int32Array.of(3, 17, 29),
        seed: BigInt(random.next()),
        sampleIndex: i,
      },
      length: random.between(6, 40),
      maskSeed: random.below(2) === 0 ? undefined : random.next(),
      adapter: random.pick([-1, -1, 0, 1]),
    };
  });
}

/** What the grammar of a job allows as its answer's i-th token; undefined: everything. */
export function maskAt({ maskSeed }: StepJob, i: number): Uint32Array | undefined {
  if (maskSeed === undefined || i % 3 === 0) return undefined;
  const random = new Random(maskSeed + i);
  // Few, half or most ids; sometimes stop tokens alone, whose ban it lifts.
  if (random.below(5) === 0) return Uint32Array.of((1 << 3) | (1 << 29), 0);
  return Uint32Array.of((random.next() & random.next()) | 1, random.next());
}

/** The two programs of a workload: the model, and a draft that is its first layer. */
export class StepModel {
  readonly kv: KvType;
  readonly #toy: ToyModel;
  readonly #source;
  readonly #adapters: readonly Adapter[];

  constructor(seed: number, kv: KvType, options: ToyOptions) {
    this.kv = kv;
    this.#toy = new ToyModel(new TensorMaker(seed), options);
    // Both name all they need before the source is used.
    this.graphs = [this.#toy.graph([0, 1]), this.#toy.graph([0])];
    this.#source = this.#toy.tensors.artifact();
    const changes = matricesOf(this.#source, /table|router/);
    this.#adapters = [
      randomAdapter(seed, changes, { rank: 4, dtype: "F16" }),
      randomAdapter(seed + 1, changes, { rank: 7, gains: true }),
    ];
  }

  readonly graphs: readonly [ReturnType<ToyModel["graph"]>, ReturnType<ToyModel["graph"]>];

  lower(backend: Backend): Lowered[] {
    const groups = groupStates(this.graphs, this.kv);
    return this.graphs.map((graph) => backend.lower(graph, this.#source, groups));
  }

  /** The adapters for one of the programs. */
  async adapters(backend: Backend, { lowered }: Program): Promise<AdapterWeights[]> {
    const named = new Set(lowered.plain.nodes.flatMap((node) => (node.op === "linear" ? [node.weight.name] : [])));
    const weights: AdapterWeights[] = [];
    for (const { name, pairs } of this.#adapters) {
      const own = new Map([...pairs].filter(([tensor]) => named.has(tensor)));
      weights.push(await backend.uploadAdapter(lowered, { name, pairs: own }));
    }
    return weights;
  }
}

export async function tellAlone(backend: Backend, model: StepModel, jobs: readonly StepJob[]): Promise<Told[]> {
  const options = { kv: model.kv, context: STEP_CONTEXT, stepTokens: 8, ...ADAPTER_PLACES };
  const [target, draft] = await ProgramRunner.open(backend, model.lower(backend), options);
  if (target === undefined || draft === undefined) throw new Error("a model has two programs");
  const told: Told[] = [];
  const adapters = [await model.adapters(backend, target.program), await model.adapters(backend, draft.program)];
  for (const job of jobs) {
    const adapter = job.adapter < 0 ? {} : { adapter: 0 };
    await target.program.setAdapter(0, adapters[0]?.[job.adapter]);
    await draft.program.setAdapter(0, adapters[1]?.[job.adapter]);
    target.restart();
    const logits: Float32Array[] = [];
    const ids: number[] = [];
    target.open(0, job.params, job.prompt);
    for (const token of job.prompt.slice(0, -1))
      logits.push((await target.step([{ sequence: 0, tokens: [token], ...adapter }], { logits: [0] })).logits);
    let token = job.prompt.at(-1) ?? 0;
    while (ids.length < job.length) {
      const mask = maskAt(job, ids.length);
      const samples = [{ row: 0, slot: 0, masked: mask !== undefined }];
      const step = target.submit([{ sequence: 0, tokens: [token], ...adapter }], { samples, logits: [0] });
      if (mask !== undefined) step.mask(0, mask);
      const result = await step.result;
      logits.push(result.logits);
      token = result.sampleIds[0] ?? -1;
      ids.push(token);
      if (ids.length < job.length) target.commit(0, token);
    }
    // The draft computes the same tokens, over its own keys.
    draft.restart();
    const draftLogits: Float32Array[] = [];
    for (const known of [...job.prompt, ...ids.slice(0, -1)])
      draftLogits.push((await draft.step([{ sequence: 0, tokens: [known], ...adapter }], { logits: [0] })).logits);
    told.push({ ids, logits, draftLogits });
  }
  for (const weights of adapters.flat()) weights.close();
  await target.close();
  await draft.close();
  return told;
}
