/**
 * Drives Programs directly, without engine and scheduler: a few sequences with block tables of their own, whose blocks
 * lie scattered over the pool, so that no test passes by contiguity. Sampler slots, block copies and moves are asked for
 * between steps and go into the next plan. Several programs can share the sequences, each with its own length of them.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { invariant } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import {
  BLOCK_TOKENS,
  BORDER_TOKENS,
  type Backend,
  type CompileOptions,
  type KvType,
  type Lowered,
  type Program,
  type SamplerParams,
  type StepHandle,
  type StepResult,
} from "./contract.ts";
import { graphInputs } from "../graph/interface.ts";
import { groupStates } from "./groups.ts";
import { type Progress, RunnerMemory } from "./runner-memory.ts";
import { StepPlanBuffer } from "./step-plan.ts";

export interface RunnerOptions extends Partial<CompileOptions> {
  readonly kv: KvType;
  /** Places of each sequence, those of its drafts included. */
  readonly context: number;
  readonly sequences?: number;
}

/** A sample of an earlier step, of any program of the pool. */
export interface SampleReference {
  readonly step: number;
  readonly sample: number;
}

/** A token id, or the sample that will be one. */
export type Token = number | SampleReference;

/** A sequence's next tokens. */
export interface Feed {
  readonly sequence: number;
  readonly tokens: readonly Token[];
  /**
   * The tokens are a drafted tree: each one's parent among them, or −1 for a child of the sequence's last token. Its
   * slots lie behind its deepest place, and the sequence doesn't grow until `accept`.
   */
  readonly parents?: readonly number[];
  /** Every row sees all of the feed's rows, those behind it too. */
  readonly span?: boolean;
  /** Of the borders that the rows pass, only the last one's state is kept. */
  readonly sparse?: boolean;
  /** The place of the sequence's adapter. Default: none. */
  readonly adapter?: number;
  /** For named inputs: values of some of the feed's rows, by their index in the feed. */
  readonly inputs?: Readonly<Record<string, ReadonlyMap<number, Float32Array>>>;
}

/** What is wanted of the step's rows (all feeds' tokens one after another). */
export interface Outputs {
  readonly logits?: readonly number[];
  /** Other named outputs. */
  readonly named?: Readonly<Record<string, readonly number[]>>;
  readonly samples?: readonly SampleWish[];
  readonly logprobs?: readonly { readonly row: number; readonly id: number; readonly top?: number }[];
}

export interface SampleWish {
  readonly row: number;
  readonly slot: number;
  readonly top?: number;
  readonly masked?: boolean;
  /** Rows whose tokens count as the answer's. */
  readonly counted?: readonly number[];
}

export interface RunnerResult extends StepResult {
  /** The output `logits`. */
  readonly logits: Float32Array;
}

/** A step in flight. */
export interface RunnerHandle extends Omit<StepHandle, "result"> {
  /** The step's id, for references. */
  readonly id: number;
  readonly result: Promise<RunnerResult>;
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
  readonly memory: RunnerMemory;
  /** As compiled. */
  readonly options: CompileOptions;
  readonly #inputs: readonly string[];
  readonly #outputs: readonly string[];
  readonly #progress: readonly Progress[];
  readonly #plan: StepPlanBuffer;
  /** For each sequence: the first slot of the tree that was fed last. */
  readonly #treeSlots = new Map<number, number>();
  #changes: ((plan: StepPlanBuffer) => void)[] = [];

  private constructor(program: Program, memory: RunnerMemory, options: CompileOptions, context: number) {
    this.program = program;
    this.memory = memory;
    this.options = options;
    const { inputs = [] } = options;
    const widths = graphInputs(program.lowered.graph);
    this.#inputs = inputs;
    this.#outputs = options.outputs;
    this.#progress = memory.join();
    const inputWidths = inputs.map((name) => widths.get(name) ?? 0);
    this.#plan = new StepPlanBuffer({ ...options, groups: memory.pool.groups.length, context, inputWidths });
  }

  /** One program, lowered by the backend from a plain graph. */
  static async create(
    backend: Backend,
    artifact: ModelArtifact,
    graph: Graph,
    options: RunnerOptions,
  ): Promise<ProgramRunner> {
    const lowered = backend.lower(graph, artifact, groupStates([graph], options.kv));
    const [runner] = await ProgramRunner.open(backend, [lowered], options);
    invariant(runner !== undefined, "no program for a graph");
    return runner;
  }

  /**
   * Programs over one pool, lowered for the same groups. Weights are shared as far as the backend can. `own`: what each is
   * compiled for beside the options of all.
   */
  static async open(
    backend: Backend,
    lowered: readonly Lowered[],
    options: RunnerOptions,
    own: readonly Partial<CompileOptions>[] = [],
  ): Promise<ProgramRunner[]> {
    const { context, sequences = 1 } = options;
    const groups = lowered[0]?.groups ?? [];
    const stride = Math.ceil(context / BLOCK_TOKENS);
    const weights = await backend.upload(lowered);
    const pool = await backend.allocate(
      groups,
      groups.map(() => sequences * stride),
    );
    const memory = new RunnerMemory(pool, weights, sequences, stride);
    const compileOptions: CompileOptions = {
      stepTokens: sequences * context,
      maxSequences: sequences,
      maxOutputs: sequences * context,
      samplerSlots: 1,
      maxListed: 4096,
      maxMoves: 64 * Math.max(1, groups.length),
      maxCopies: sequences * stride * Math.max(1, groups.length),
      outputs: ["logits"],
      ...options,
    };
    const runners: ProgramRunner[] = [];
    for (const [i, one] of lowered.entries()) {
      const compiled = { ...compileOptions, ...own[i] };
      const program = await backend.compile(one, weights, pool, compiled);
      runners.push(new ProgramRunner(program, memory, compiled, context));
    }
    return runners;
  }

  /** One step, awaited. */
  step(feeds: readonly Feed[], outputs: Outputs = {}): Promise<RunnerResult> {
    return this.submit(feeds, outputs).result;
  }

  /** Submits one step: what was asked for since the last one, then the feeds. */
  submit(feeds: readonly Feed[], outputs: Outputs = {}): RunnerHandle {
    const plan = this.#plan;
    plan.clear();
    plan.id = this.memory.nextStep();
    for (const change of this.#changes) change(plan);
    this.#changes = [];
    this.memory.takeCopies(plan);
    for (const feed of feeds) this.#feed(plan, feed);
    this.#want(plan, outputs);
    const handle = this.program.run(plan);
    const logits = this.#outputs.indexOf("logits");
    return {
      id: plan.id,
      result: handle.result.then((result) => ({ ...result, logits: result.outputs[logits] ?? new Float32Array(0) })),
      mask: (sample, mask) => handle.mask(sample, mask),
      cancel: () => handle.cancel(),
    };
  }

  /** How many tokens of a sequence this program has computed. */
  length(sequence: number): number {
    return this.#of(sequence).length;
  }

  /** Opens a sampler slot with the next step. */
  open(slot: number, params: Partial<SamplerParams>, prompt: readonly number[], answer: readonly number[] = []): void {
    const ids = { prompt: Int32Array.from(prompt), answer: Int32Array.from(answer) };
    this.#changes.push((plan) => plan.addOpen({ slot, params: { ...GREEDY, ...params }, ...ids }));
  }

  /** Closes a sampler slot with the next step. */
  closeSlot(slot: number): void {
    this.#changes.push((plan) => plan.addClose(slot));
  }

  /** A slot's answer has one token more, from the next step on. */
  commit(slot: number, token: Token): void {
    this.#changes.push((plan) => plan.addCommit(slot, idOf(plan, token)));
  }

  /** The nodes of the tree that was fed last become the sequence's next tokens: K and V move with the next step. */
  accept(sequence: number, nodes: readonly number[]): void {
    const first = this.#treeSlots.get(sequence);
    invariant(first !== undefined, `sequence ${sequence} was fed no tree`);
    const length = this.length(sequence);
    const moves = nodes.map((node, i) => ({ from: first + node, to: length + i }));
    this.#changes.push((plan) => this.memory.addMoves(plan, sequence, moves));
    this.#of(sequence).length = length + nodes.length;
  }

  /** A sequence goes on after its first `length` tokens. */
  truncate(sequence: number, length: number): void {
    invariant(length <= this.length(sequence), "a sequence can't be truncated to more than it has");
    const progress = this.#of(sequence);
    progress.length = length;
    progress.borders = progress.borders.filter((border) => border * BORDER_TOKENS <= length);
  }

  /** Another program has computed the sequence's first tokens; this one shares its states by name. */
  follow(sequence: number, other: ProgramRunner): void {
    Object.assign(this.#of(sequence), other.#of(sequence));
  }

  /** All sequences begin anew; their old keys stay in the pool as rubbish. */
  restart(): void {
    for (const sequence of this.#progress.keys()) this.truncate(sequence, 0);
  }

  /** Sequence `to` goes on where `from` stands, in all programs: its blocks are copied by the next step. */
  fork(from: number, to: number): void {
    this.memory.fork(from, to);
  }

  /** The same by the pool's bytes, at once: as a swap out and in would do it. */
  transfer(from: number, to: number): Promise<void> {
    return this.memory.transfer(from, to);
  }

  /** Closes the program; the last one of a pool closes pool and weights. */
  async close(): Promise<void> {
    await this.program.close();
    this.memory.leave();
  }

  #of(sequence: number): Progress {
    const progress = this.#progress[sequence];
    invariant(progress !== undefined, `there is no sequence ${sequence}`);
    return progress;
  }

  #feed(plan: StepPlanBuffer, feed: Feed): void {
    const { sequence, tokens, parents, span = false, sparse = false, inputs = {}, adapter = -1 } = feed;
    const length = this.length(sequence);
    const progress = this.#of(sequence);
    for (const [name, rows] of Object.entries(inputs))
      for (const [i, values] of rows) plan.addInput(this.#inputs.indexOf(name), plan.tokenCount + i, values);
    const border = progress.borders.at(-1) ?? 0;
    const last = Math.floor((parents === undefined ? length + tokens.length : length) / BORDER_TOKENS);
    const passed = Array.from({ length: Math.max(0, last - border) }, (_, i) => border + 1 + i);
    progress.borders = [...progress.borders, ...(sparse ? passed.slice(-1) : passed)];
    plan.addSequence(this.memory.tables(sequence, length, progress.borders), border, adapter);
    const ids = tokens.map((token) => idOf(plan, token));
    if (parents !== undefined) {
      this.#tree(plan, sequence, ids, parents);
      return;
    }
    if (span) for (const [i, id] of ids.entries()) plan.addRow(id, length + i, length + i, length + ids.length);
    else plan.addRows(ids, length);
    progress.length = length + ids.length;
  }

  #tree(plan: StepPlanBuffer, sequence: number, ids: readonly number[], parents: readonly number[]): void {
    const length = this.length(sequence);
    const paths: number[][] = [];
    for (const node of ids.keys()) {
      const parent = parents[node] ?? -1;
      invariant(parent < node, "a tree's parents come before their children");
      paths.push([...(paths[parent] ?? []), node]);
    }
    const first = length + Math.max(...paths.map((path) => path.length));
    this.#treeSlots.set(sequence, first);
    for (const [node, id] of ids.entries()) {
      const path = paths[node] ?? [];
      plan.addRow(id, length + path.length - 1, first + node, length);
      for (const ancestor of path) plan.addListed(first + ancestor);
    }
  }

  #want(plan: StepPlanBuffer, { logits = [], named = {}, samples = [], logprobs = [] }: Outputs): void {
    for (const { row, slot, top, masked, counted = [] } of samples) {
      plan.addSample(row, slot, top, masked);
      for (const counts of counted) plan.addCounted(counts);
    }
    for (const { row, id, top } of logprobs) plan.addLogprob(row, id, top);
    for (const [name, rows] of Object.entries({ logits, ...named })) {
      const output = this.#outputs.indexOf(name);
      for (const row of rows) plan.addOutput(output, row);
    }
  }
}

function idOf(plan: StepPlanBuffer, token: Token): number {
  return typeof token === "number" ? token : plan.addReference(token.step, token.sample);
}
