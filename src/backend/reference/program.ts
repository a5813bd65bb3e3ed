/**
 * A reference program: when its steps begin, what happens around the graph (sampler slots, moves and copies first, then
 * the nodes, then the outputs), and what a failed or cancelled step takes with it.
 */
import { StepError, invariant } from "../../errors.ts";
import type { Graph } from "../../graph/graph.ts";
import { withAdapters } from "../../graph/passes.ts";
import { graphInputs } from "../../graph/interface.ts";
import type { AdapterWeights, CompileOptions, Lowered, Program, StepHandle, StepPlan } from "../contract.ts";
import { evaluate } from "./evaluate.ts";
import { ReferenceAdapter } from "./lora.ts";
import { stepResult, type Rows } from "./outputs.ts";
import { checkPlan, planLimits, type PlanLimits } from "./plan-check.ts";
import { copyPlan } from "./plan-copy.ts";
import type { ReferencePool } from "./pool.ts";
import { SamplerSlots } from "./slots.ts";
import { refusedStep, Step } from "./step.ts";
import type { ReferenceWeights, SourceWeights } from "./weights.ts";

const MAX_IN_FLIGHT = 2;
const NOTHING = { rows: new Int32Array(0), values: new Float32Array(0) };

export class ReferenceProgram implements Program {
  readonly lowered: Lowered;
  readonly pool: ReferencePool;
  readonly #graph: Graph;
  readonly #weights: SourceWeights;
  readonly #options: CompileOptions;
  readonly #limits: PlanLimits;
  readonly #slots: SamplerSlots;
  /** By place. */
  readonly #adapters: (ReferenceAdapter | undefined)[];
  /** Steps that were submitted and haven't ended, in order. */
  #inFlight: Step[] = [];
  /** What the graph gave for the first of them, while its masks are missing. */
  #computed:
    | { readonly step: Step; readonly tokens: Int32Array; readonly outputs: ReadonlyMap<string, Rows> }
    | undefined;
  #closed = false;

  constructor(lowered: Lowered, weights: ReferenceWeights, pool: ReferencePool, options: CompileOptions) {
    const { graph, source } = lowered;
    for (const name of options.outputs) invariant(graph.outputs.has(name), `the graph has no output "${name}"`);
    for (const name of options.inputs ?? [])
      invariant(graphInputs(graph).has(name), `the graph has no input "${name}"`);
    this.lowered = lowered;
    this.pool = pool;
    this.#graph = (options.maxAdapters ?? 0) > 0 ? withAdapters(graph) : graph;
    this.#adapters = Array.from({ length: options.maxAdapters ?? 0 });
    this.#weights = weights.of(source);
    this.#options = options;
    this.#limits = planLimits(graph, pool, options);
    this.#slots = new SamplerSlots(options.samplerSlots);
  }

  run(plan: StepPlan): StepHandle {
    try {
      return this.#submit(copyPlan(plan));
    } catch (cause) {
      return refusedStep(cause);
    }
  }

  async setAdapter(place: number, adapter: AdapterWeights | undefined): Promise<void> {
    const { maxAdapters = 0, maxRank = 0 } = this.#options;
    invariant(place >= 0 && place < maxAdapters, `there is no place ${place} for an adapter: there are ${maxAdapters}`);
    if (adapter !== undefined) {
      invariant(adapter instanceof ReferenceAdapter, "this adapter belongs to another backend");
      invariant(adapter.lowered === this.lowered, "an adapter of another graph");
      invariant(adapter.rank <= maxRank, `an adapter of rank ${adapter.rank}: the program takes ${maxRank}`);
    }
    this.#adapters[place] = adapter;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const [first] = this.#inFlight;
    if (first !== undefined) this.#fail(first, "cancelled", "the program was closed");
  }

  #submit(plan: StepPlan): Step {
    const { timeline } = this.pool;
    invariant(!this.#closed, "the program is closed");
    invariant(this.#inFlight.length < MAX_IN_FLIGHT, `${MAX_IN_FLIGHT} steps are in flight already`);
    invariant(plan.id > timeline.lastId, `step ${plan.id} comes after step ${timeline.lastId}`);
    checkPlan(plan, this.#limits);
    this.#slots.check(plan);
    const adapters = Array.from(plan.adapters, (place) => {
      const adapter = this.#adapters[place];
      invariant(place < 0 || adapter !== undefined, `the place ${place} holds no adapter`);
      return adapter;
    });
    const named = referencesOf(plan, timeline.find.bind(timeline));
    const before = this.#inFlight.at(-1);

    const step = new Step(
      plan,
      (masked) => this.#finish(masked),
      (cancelled) => this.#fail(cancelled, "cancelled", "the step was cancelled"),
    );
    this.#inFlight.push(step);
    this.#slots.declare(plan);
    timeline.remember(step);
    void timeline.enqueue(async () => {
      await before?.end;
      for (const { step: other } of named) await other.end;
      if (step.ended) this.#slots.close(plan);
      else this.#begin(step, named, adapters);
    });
    return step;
  }

  /** Everything up to the samples. */
  #begin(step: Step, named: readonly SampleOf[], adapters: readonly (ReferenceAdapter | undefined)[]): void {
    const { plan } = step;
    step.begun = true;
    if (named.some(({ step: other }) => other.sampleIds === undefined)) {
      this.#fail(step, "unrun", "a step whose sample it names has failed");
      return;
    }
    try {
      const ids = named.map(({ step: other, sample }) => other.sampleIds?.[sample] ?? 0);
      // For a sample that came to nothing token 0 stands in: its sequence's results are dropped.
      const resolve = (id: number): number => (id >= 0 ? id : Math.max(0, ids[-1 - id] ?? 0));
      this.#slots.begin(plan, resolve);
      this.pool.move(plan);
      const tokens = plan.tokens.map(resolve);
      const wanted = wantedRows(plan, this.#options.outputs);
      const given = new Map((this.#options.inputs ?? []).map((name, i) => [name, plan.inputs[i] ?? NOTHING]));
      const context = { graph: this.#graph, weights: this.#weights, pool: this.pool };
      const values = evaluate({ ...context, plan, tokens, given, adapters, wanted });
      const outputs = new Map(
        [...values].map(([name, all]) => [name, { rows: wanted.get(name) ?? [], values: all }] as const),
      );
      this.#computed = { step, tokens, outputs };
      this.#finish(step);
    } catch (cause) {
      this.#fail(step, "failed", messageOf(cause), cause);
    }
  }

  /** Samples and all other results, once the graph has run and every mask is there. */
  #finish(step: Step): void {
    if (this.#computed?.step !== step || !step.masked) return;
    const { tokens, outputs } = this.#computed;
    this.#computed = undefined;
    try {
      const result = stepResult(step, tokens, outputs, this.#options.outputs, this.#slots);
      this.#inFlight.shift();
      step.succeed(result);
    } catch (cause) {
      this.#fail(step, "failed", messageOf(cause), cause);
    }
  }

  /** Ends a step, and as unrun the later ones: what they would read is undefined. */
  #fail(step: Step, reason: StepError["reason"], message: string, cause?: unknown): void {
    const at = this.#inFlight.indexOf(step);
    const ended = this.#inFlight.splice(at);
    if (this.#computed?.step === step) this.#computed = undefined;
    for (const one of ended) {
      this.#slots.undeclare(one.plan);
      if (one.begun) this.#slots.close(one.plan);
      one.fail(one === step ? new StepError(reason, message, { cause }) : new StepError("unrun", `unrun: ${message}`));
    }
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** A sample that a plan names. */
interface SampleOf {
  readonly step: Step;
  readonly sample: number;
}

function referencesOf(plan: StepPlan, find: (id: number) => Step): SampleOf[] {
  return Array.from({ length: plan.referenceCount }, (_, i) => {
    const sample = plan.references[2 * i + 1] ?? -1;
    const step = find(plan.references[2 * i] ?? -1);
    invariant(sample >= 0 && sample < step.plan.sampleCount, `step ${step.plan.id} has no sample ${sample}`);
    return { step, sample };
  });
}

/** For each output the rows that are wanted of it, each once: the logits are what samples and log-probabilities need. */
function wantedRows(plan: StepPlan, outputs: readonly string[]): Map<string, number[]> {
  const wanted = new Map(outputs.map((name, i) => [name, [...(plan.outputs[i]?.rows ?? [])]]));
  wanted.set("logits", [...(wanted.get("logits") ?? []), ...plan.sampleRows, ...plan.logprobRows]);
  return new Map([...wanted].map(([name, rows]) => [name, [...new Set(rows)]]));
}
