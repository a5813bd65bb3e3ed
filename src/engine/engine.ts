/**
 * The engine: the loop between a scheduler and a program. It owns no policy (scheduler.ts) and no arithmetic (the
 * backend); it keeps up to two steps in flight while there is work, and tells whoever submitted what became of it. A step
 * that fails ends the requests that it was for, not the engine.
 */
import type { CompileOptions, Program, StepHandle } from "../backend/contract.ts";
import { StepPlanBuffer } from "../backend/step-plan.ts";
import { MillraceError, RequestError, StepError } from "../errors.ts";
import type { ValueShape } from "../graph/interface.ts";
import { BlockPool, type GroupMemory } from "../state/block-pool.ts";
import type { AdapterInfo, Adapters } from "./adapters.ts";
import {
  type EngineClient,
  type EngineStats,
  type MemoryMap,
  perform,
  type Pin,
  type StepRecord,
  type Work,
  type WorkEvent,
  type WorkHandle,
} from "./client.ts";
import { GivenContents } from "./given.ts";
import type { Grammars } from "./grammars.ts";
import { Keeping } from "./keeping.ts";
import type { Policy } from "./policies/policy.ts";
import { compileOptions } from "./program-limits.ts";
import { EngineRequest, saltOf, type WorkKind } from "./request.ts";
import { Scheduler } from "./scheduler.ts";
import type { StepLimits } from "./limits.ts";
import { isLive } from "./share.ts";
import { Swap } from "./swap.ts";
import type { Speculator } from "./speculator.ts";
import type { DraftingModel, SequenceDraft } from "./work/draft.ts";
import { Embed } from "./work/embed.ts";
import { Generate } from "./work/generate.ts";
import { Prefill } from "./work/prefill.ts";
import { Score } from "./work/score.ts";

export interface EngineParts {
  readonly program: Program;
  readonly limits: StepLimits;
  /** The program's named outputs, in its order. */
  readonly outputs: readonly ValueShape[];
  /** Its named inputs, likewise. Default: none. */
  readonly inputs?: readonly ValueShape[] | undefined;
  readonly policy: Policy;
  /** Absent: nothing is drafted. */
  readonly speculation?: Speculator | undefined;
  /** Models that draft: programs over the same pool. */
  readonly drafting?: readonly DraftingProgram[] | undefined;
  readonly prefixCache: boolean;
  /** Where blocks go that the prefix tree gives up: bytes of memory for them, and what a block's way back takes, in seconds. */
  readonly swap?: { readonly bytes: number; readonly secondsPerBlock: number } | undefined;
  /** Absent: no request can have a grammar. */
  readonly grammars?: Grammars | undefined;
  /** Absent: none can be loaded. */
  readonly adapters?: Adapters | undefined;
}

export interface DraftingProgram extends Pick<DraftingModel, "method" | "depth" | "minProbability"> {
  readonly program: Program;
  /** What it was compiled for. */
  readonly options: CompileOptions;
  readonly inputWidths: readonly number[];
  makeDraft(): SequenceDraft;
}

interface InFlight {
  readonly handle: StepHandle;
  readonly record: Pick<StepRecord, "id" | "program" | "sequences" | "tokens" | "samples" | "planMs">;
  /** Whether something is wanted of each of its rows: then its time tells what such steps cost. */
  readonly isTelling: boolean;
  readonly began: number;
}

const NO_SWAP = { saved: 0, restored: 0, blocks: 0, bytes: 0 };
/** Of the prefix tree in a picture of it. */
const MAX_RUNS = 512;

export class Engine implements EngineClient {
  /** What befalls a step ends its requests, not the engine. */
  readonly failure = undefined;
  /** The one that answers, then those that draft. */
  readonly #programs: readonly Program[];
  readonly #scheduler: Scheduler;
  readonly #memory: readonly GroupMemory[];
  readonly #depth: number;
  readonly #outputs: readonly ValueShape[];
  readonly #given: GivenContents;
  readonly #grammars: Grammars | undefined;
  readonly #speculation: Speculator | undefined;
  readonly #adapters: Adapters | undefined;
  readonly #watchers = new Set<(record: StepRecord) => void>();
  readonly #swap: Swap | undefined;
  readonly #inFlight: InFlight[] = [];
  readonly #keeping: Keeping;
  #steps = 0;
  /** When the last step was taken in. */
  #lastEnd = -Infinity;
  #promptTokens = 0;
  #cachedTokens = 0;
  #loop: Promise<void> | undefined;
  #closed = false;
  readonly #makeDrafts: () => readonly SequenceDraft[];

  constructor(parts: EngineParts) {
    const { program, limits, outputs, inputs = [], policy, speculation, drafting = [], prefixCache } = parts;
    const { groups, blocks } = program.pool;
    this.#programs = [program, ...drafting.map((one) => one.program)];
    this.#depth = limits.depth;
    this.#outputs = outputs;
    this.#given = new GivenContents(inputs);
    this.#grammars = parts.grammars;
    this.#speculation = speculation;
    this.#adapters = parts.adapters;
    this.#memory = groups.map((group, g) => ({ group, pool: new BlockPool(blocks[g] ?? 0) }));
    const context = limits.context + limits.treeSlots;
    const compiled = compileOptions(limits, groups.length, outputs, inputs);
    const inputWidths = inputs.map(({ width }) => width);
    const plan = new StepPlanBuffer({ ...compiled, groups: groups.length, context, inputWidths });
    this.#makeDrafts = () => drafting.map((one) => one.makeDraft());
    const models = drafting.map(({ method, depth, minProbability, options, inputWidths }) => ({
      method,
      plan: new StepPlanBuffer({ ...options, groups: groups.length, context, inputWidths }),
      stepTokens: limits.stepTokens,
      depth,
      minProbability,
    }));
    if (parts.swap !== undefined && parts.swap.bytes > 0)
      this.#swap = new Swap(program.pool, this.#memory, parts.swap.bytes, parts.swap.secondsPerBlock);
    const drafts = { speculation, drafting: models };
    const swap = this.#swap;
    this.#scheduler = new Scheduler({ policy, limits, groups: this.#memory, plan, prefixCache, swap, ...drafts });
    this.#keeping = new Keeping(this.#scheduler.residents.prefixes, this.#memory);
  }

  submit(work: Work, listen: (event: WorkEvent) => void): WorkHandle {
    const tell = (event: WorkEvent): void => {
      try {
        listen(event);
      } catch (error) {
        request.failure = asError(error);
      }
    };
    let request = new EngineRequest(work, tell, []);
    try {
      request = new EngineRequest(work, tell, this.#kindsOf(work), this.#makeDrafts);
      if (this.#closed) throw new MillraceError("ERR_CLOSED", "the model is closed");
      if (request.kinds.length === 0) throw new RequestError("nothing is wanted of the prompt");
      request.given = this.#given.read(work);
      if (work.adapter !== undefined) request.adapter = this.#requireAdapters().take(work.adapter);
      this.#scheduler.add(request);
    } catch (error) {
      request.status = "ended";
      queueMicrotask(() => this.#tellEnd(request, error));
    }
    // A turn of the microtask queue, so that calls made together are in the first step together.
    if (request.status === "waiting") this.#loop ??= Promise.resolve().then(() => this.#run());
    return {
      endAnswer: (index) => {
        const sequence = request.sequences[index];
        if (request.status === "ended" || sequence === undefined || sequence.finished) return;
        if (this.#scheduler.endAnswer(sequence)) this.#end(request);
        else this.#cancelDead();
      },
      cancel: (error) => this.#end(request, error),
    };
  }

  stats(): EngineStats {
    return {
      running: this.#scheduler.running.length,
      waiting: this.#scheduler.waiting.length,
      steps: this.#steps,
      promptTokens: this.#promptTokens,
      cachedTokens: this.#cachedTokens,
      drafts: this.#speculation?.depths ?? [],
      swap: this.#swap?.counts ?? NO_SWAP,
      blocks: this.#memory.map(({ pool: { size, used, idle } }) => ({ size, used, cached: idle })),
    };
  }

  async memory(): Promise<MemoryMap> {
    return {
      groups: this.#memory.map(({ pool }) => pool.states()),
      prefixes: this.#scheduler.residents.prefixes.runs(MAX_RUNS),
    };
  }

  async loadAdapter(name: string, reference: string): Promise<AdapterInfo> {
    return this.#requireAdapters().load(name, reference);
  }

  async dropAdapter(name: string): Promise<void> {
    return this.#requireAdapters().drop(name);
  }

  adapters(): readonly AdapterInfo[] {
    return this.#adapters?.list ?? [];
  }

  watch(listen: (record: StepRecord) => void): () => void {
    this.#watchers.add(listen);
    return () => this.#watchers.delete(listen);
  }

  async pin(prompt: Int32Array, cacheSalt = ""): Promise<Pin> {
    await perform(this, { prompt, prefill: true, cacheSalt }, undefined, () => undefined);
    return this.#keeping.pin(prompt, saltOf(cacheSalt));
  }

  /** Resolves when no work is left. */
  async idle(): Promise<void> {
    while (this.#loop) await this.#loop;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const { waiting, running } = this.#scheduler;
    const error = new MillraceError("ERR_CLOSED", "the model was closed while it answered");
    for (const request of [...running, ...waiting]) this.#end(request, error);
    for (const { handle } of this.#inFlight) handle.cancel();
    await this.idle();
    this.#keeping.close();
    await this.#swap?.settled();
  }

  #kindsOf({ generate, score, embed, prefill, cacheSalt }: Work): WorkKind[] {
    const kinds: WorkKind[] = [];
    if (score !== undefined) kinds.push(new Score(score, ...this.#output("logits")));
    if (embed !== undefined) kinds.push(new Embed(embed, ...this.#output(embed.output)));
    if (generate !== undefined) {
      this.#output("logits");
      const isHeld = generate.grammar !== undefined || generate.budget !== undefined;
      if (isHeld && this.#grammars === undefined)
        throw new RequestError("this engine has no vocabulary to apply a grammar to");
      kinds.push(new Generate(generate, this.#grammars?.get(generate, cacheSalt)));
    }
    if (prefill !== undefined) kinds.push(new Prefill());
    return kinds;
  }

  /** An output's index, and its width. */
  #output(name: string): [index: number, width: number] {
    const index = this.#outputs.findIndex((one) => one.name === name);
    const width = this.#outputs[index]?.width;
    if (width !== undefined) return [index, width];
    const known = this.#outputs.map((one) => one.name).join(", ");
    throw new RequestError(
      name === "logits"
        ? `this model makes no text: it has ${known}, and no logits`
        : `the model has no output "${name}"; it has ${known}`,
    );
  }

  async #run(): Promise<void> {
    let failed = false;
    for (;;) {
      while (!failed && this.#inFlight.length < this.#depth && this.#launch());
      const oldest = this.#inFlight[0];
      if (oldest === undefined) {
        if (failed) failed = false;
        else if (this.#scheduler.running.length + this.#scheduler.waiting.length === 0) break;
        else this.#unblock();
        continue;
      }
      const outcome = await oldest.handle.result.catch(asError);
      this.#inFlight.shift();
      this.#steps += 1;
      // What was planned upon a step that failed comes back unrun; then all is planned anew.
      failed ||= outcome instanceof Error;
      const { flight, ended } = this.#scheduler.update(outcome);
      for (const request of ended) this.#tellEnd(request, request.failure);
      const now = performance.now();
      const { program, tokens, planMs } = oldest.record;
      // With the time that it took to plan, where no step ran meanwhile.
      if (!failed && oldest.isTelling)
        this.#speculation?.measure(program, tokens, now - Math.max(oldest.began - planMs, this.#lastEnd));
      if (program === 0) this.#swap?.measure(tokens, now - Math.max(oldest.began, this.#lastEnd));
      this.#lastEnd = now;
      const { preempted, drafted, accepted } = flight;
      const record = { ...oldest.record, drafted, accepted, preempted, ms: now - oldest.began };
      for (const watcher of this.#watchers) queueMicrotask(() => watcher(record));
      this.#cancelDead();
      this.#deliverMasks();
    }
    this.#loop = undefined;
  }

  /** Submits the next step; false where there is nothing to do now. */
  #launch(): boolean {
    const asked = performance.now();
    // Where a preemption gave its memory to nobody, the second try may start somebody else.
    const step = this.#scheduler.schedule() ?? this.#scheduler.schedule();
    this.#swap?.flush((error) => this.#lose(error));
    const program = this.#programs[step?.program ?? 0];
    if (step === undefined || program === undefined) return false;
    const { id, sequenceCount: sequences, tokenCount: tokens, sampleCount: samples, logprobCount } = step.plan;
    const began = performance.now();
    const handle = program.run(step.plan);
    // Met in #run when its turn comes; until then nobody waits for it.
    handle.result.catch(() => undefined);
    const record = { id, program: step.program, sequences, tokens, samples, planMs: began - asked };
    const isTelling = tokens === (step.program === 0 ? samples : samples + logprobCount);
    this.#inFlight.push({ handle, record, isTelling, began });
    this.#deliverMasks();
    return true;
  }

  /** Makes the masks of the oldest step in flight: all that they depend on has been taken in. */
  #deliverMasks(): void {
    const flight = this.#scheduler.flights.oldest;
    const handle = this.#inFlight[0]?.handle;
    if (flight === undefined || handle === undefined || flight.isMasked) return;
    flight.isMasked = true;
    for (const share of flight.shares) {
      const { request } = share.sequence;
      for (const wish of share.asked.flatMap(({ masks = [] }) => masks)) {
        let mask: Uint32Array | "drop" = "drop";
        try {
          if (isLive(share) && request.failure === undefined) mask = wish.make();
        } catch (error) {
          request.failure = asError(error);
        }
        handle.mask(wish.sample, mask);
      }
    }
  }

  /** There is work, none of it can go on, and nothing is in flight that could change that: the first one is refused. */
  #unblock(): void {
    const { running, waiting } = this.#scheduler;
    if (this.#keeping.giveUp()) return;
    const stuck = running[0] ?? waiting[0];
    if (stuck)
      this.#end(stuck, new MillraceError("ERR_MEMORY", "the KV memory can't hold this request beside the others"));
  }

  /** What was to come back into memory didn't: whoever runs may have counted on it, and nobody shall from now on. */
  #lose(error: unknown): void {
    for (const request of this.#scheduler.running.slice()) this.#end(request, error);
    this.#scheduler.residents.prefixes.clear();
  }

  /** The oldest step is for nobody any more: it need not be waited for. */
  #cancelDead(): void {
    if (this.#scheduler.flights.isOldestDead) this.#inFlight[0]?.handle.cancel();
  }

  #end(request: EngineRequest, error?: unknown): void {
    if (request.status === "ended") return;
    this.#scheduler.remove(request);
    this.#tellEnd(request, error);
    this.#cancelDead();
  }

  #requireAdapters(): Adapters {
    if (this.#adapters !== undefined) return this.#adapters;
    throw new RequestError("this engine has no adapters");
  }

  #tellEnd(request: EngineRequest, error: unknown): void {
    const { keepSeconds = 0 } = request.work;
    if (error === undefined && keepSeconds > 0 && request.work.spans === undefined)
      for (const one of request.sequences) this.#keeping.keep(one.keys(0, one.length), request.salt, keepSeconds);
    const { listen, work, cachedTokens, steps, drafted, accepted, predicted } = request;
    if (request.adapter !== undefined) this.#adapters?.giveBack(request.adapter);
    request.adapter = undefined;
    if (cachedTokens >= 0) {
      this.#promptTokens += work.prompt.length;
      this.#cachedTokens += cachedTokens;
    }
    const drafts = { steps, drafted, accepted, predicted };
    const end = { type: "end", cachedTokens: Math.max(0, cachedTokens), drafts } as const;
    listen(error === undefined ? end : { ...end, error });
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new StepError("failed", String(error));
}
