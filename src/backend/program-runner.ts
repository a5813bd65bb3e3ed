/**
 * Drives a backend's Program directly, without engine and scheduler: a few sequences with block tables of their own,
 * whose blocks lie scattered over the pool, so that no test passes by contiguity.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import {
  BLOCK_TOKENS,
  type Backend,
  type KvType,
  type Pool,
  type Program,
  type SamplerParams,
  type StepPlan,
  type StepResult,
} from "./contract.ts";
import type { Graph } from "../graph/graph.ts";
import { groupStates } from "./groups.ts";

interface BlockTable {
  readonly ids: Int32Array;
  readonly stride: number;
}

export interface RunnerOptions {
  readonly kv: KvType;
  /** Positions of each sequence. */
  readonly context: number;
  readonly sequences?: number;
  readonly samplerSlots?: number;
}

/** A sequence's next tokens; a negative one −1−i is sample i of the step before. */
export interface Feed {
  readonly sequence: number;
  readonly tokens: readonly number[];
}

export interface Outputs {
  /** Rows of the step (all feeds' tokens one after another). */
  readonly logits?: readonly number[];
  readonly samples?: readonly { readonly row: number; readonly slot: number; readonly top?: number }[];
  readonly logprobs?: readonly { readonly row: number; readonly id: number }[];
}

export const GREEDY: SamplerParams = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  biasIds: new Int32Array(0),
  biasValues: new Float32Array(0),
  minTokens: 0,
  stopIds: new Int32Array(0),
  seed: 0n,
  sampleIndex: 0,
};

export class ProgramRunner {
  readonly program: Program;
  readonly #lengths: number[];
  readonly #tables: readonly BlockTable[];
  readonly #pool: Pool;
  readonly #close: () => void;
  #copies: number[] = [];

  private constructor(
    program: Program,
    pool: Pool,
    sequences: number,
    tables: readonly BlockTable[],
    close: () => void,
  ) {
    this.program = program;
    this.#pool = pool;
    this.#lengths = Array.from({ length: sequences }, () => 0);
    this.#tables = tables;
    this.#close = close;
  }

  static async create(
    backend: Backend,
    artifact: ModelArtifact,
    graph: Graph,
    options: RunnerOptions,
  ): Promise<ProgramRunner> {
    const { kv, context, sequences = 1, samplerSlots = 1 } = options;
    const groups = groupStates(graph);
    const stride = Math.ceil(context / BLOCK_TOKENS);
    const blocks = groups.map(() => sequences * stride);
    const weights = await backend.upload(artifact, graph);
    const pool = backend.allocate(graph, groups, blocks, kv);
    const limits = { maxTokens: sequences * context, maxSequences: sequences, maxOutputs: sequences * context };
    const program = backend.compile(graph, weights, pool, { ...limits, samplerSlots });
    const tables = blocks.map((count) => ({ ids: scattered(count), stride }));
    return new ProgramRunner(program, pool, sequences, tables, () => {
      program.close();
      pool.close();
      weights.close();
    });
  }

  /** One step; the result's arrays are copies. */
  async step(feeds: readonly Feed[], outputs: Outputs): Promise<StepResult> {
    const { logits = [], samples = [], logprobs = [] } = outputs;
    const starts = [0];
    const positions: number[] = [];
    const firsts = feeds.map(({ sequence }) => this.#lengths[sequence] ?? 0);
    for (const { sequence, tokens } of feeds) {
      const from = this.#lengths[sequence] ?? 0;
      positions.push(...tokens.map((_, i) => from + i));
      this.#lengths[sequence] = from + tokens.length;
      starts.push(positions.length);
    }
    const plan: StepPlan = {
      tokenCount: positions.length,
      sequenceCount: feeds.length,
      tokens: Int32Array.from(feeds.flatMap(({ tokens }) => tokens)),
      positions: Int32Array.from(positions),
      queryStarts: Int32Array.from(starts),
      blockTables: this.#tables.map((table, group) => this.#tableFor(table, group, feeds, firsts)),
      copyCount: this.#copies.length / 3,
      copies: Int32Array.from(this.#copies),
      sampleCount: samples.length,
      sampleRows: Int32Array.from(samples, ({ row }) => row),
      sampleSlots: Int32Array.from(samples, ({ slot }) => slot),
      sampleTop: Int32Array.from(samples, ({ top = 0 }) => top),
      logprobCount: logprobs.length,
      logprobRows: Int32Array.from(logprobs, ({ row }) => row),
      logprobIds: Int32Array.from(logprobs, ({ id }) => id),
      logitCount: logits.length,
      logitRows: Int32Array.from(logits),
    };
    this.#copies = [];
    const result = await this.program.run(plan);
    const width = this.program.graph.vocabSize;
    return {
      sampleIds: result.sampleIds.slice(0, samples.length),
      sampleLogprobs: result.sampleLogprobs.slice(0, samples.length),
      topIds: result.topIds.slice(),
      topLogprobs: result.topLogprobs.slice(),
      logprobs: result.logprobs.slice(0, logprobs.length),
      logits: result.logits.slice(0, logits.length * width),
    };
  }

  /** All sequences begin anew; their old keys stay in the pool as rubbish. */
  restart(): void {
    this.#lengths.fill(0);
  }

  /** Sequence `to` goes on where `from` stands: its blocks are copied by the next step. */
  fork(from: number, to: number): void {
    this.#eachBlock(from, to, (group, source, target) => this.#copies.push(group, source, target));
  }

  /** The same by the pool's bytes, at once: as a swap out and in would do it. */
  transfer(from: number, to: number): void {
    this.#eachBlock(from, to, (group, source, target) =>
      this.#pool.write(group, target, this.#pool.read(group, source)),
    );
  }

  close(): void {
    this.#close();
  }

  #eachBlock(from: number, to: number, visit: (group: number, source: number, target: number) => void): void {
    const length = this.#lengths[from] ?? 0;
    this.#lengths[to] = length;
    for (const [group, { ids, stride }] of this.#tables.entries()) {
      for (let i = 0; i * BLOCK_TOKENS < length; i++)
        visit(group, ids[from * stride + i] ?? -1, ids[to * stride + i] ?? -1);
    }
  }

  /** The sequences' rows of a group's table; blocks wholly behind a window are given as freed. */
  #tableFor({ ids, stride }: BlockTable, group: number, feeds: readonly Feed[], firsts: readonly number[]): BlockTable {
    const window = this.#pool.groups[group]?.window ?? Infinity;
    const out = new Int32Array(feeds.length * stride);
    feeds.forEach(({ sequence }, i) => {
      const own = ids.slice(sequence * stride, (sequence + 1) * stride);
      const seen = (firsts[i] ?? 0) - window + 1;
      out.set(
        own.map((block, b) => ((b + 1) * BLOCK_TOKENS <= seen ? -1 : block)),
        i * stride,
      );
    });
    return { ids: out, stride };
  }
}

/** 0 … count − 1 in an order that is neither rising nor falling. */
function scattered(count: number): Int32Array {
  let step = Math.floor(count * 0.618) | 1;
  while (gcd(step, count) > 1) step += 1;
  return Int32Array.from({ length: count }, (_, i) => (i * step + 1) % count);
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
