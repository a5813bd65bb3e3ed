/**
 * Speculation: which drafts the sequences of a step get. Each sequence has drafters of its own; their proposals are
 * weighed with what was measured of acceptance and of the cost of rows (decode/speculative/choose.ts), over all sequences
 * together. Tokens don't depend on any of it. Steps in flight are waited for only where a draft behind them promises more
 * than the overlap gives. No clock inside: the engine tells how long steps took.
 */
import { Acceptance } from "../decode/speculative/acceptance.ts";
import { behindFirst, choose, couldPay } from "../decode/speculative/choose.ts";
import { CostModel } from "../decode/speculative/cost-model.ts";
import { cut, depthsOf, type DraftTree, likeliest, merge } from "../decode/speculative/draft-tree.ts";
import type { Drafter, DraftMethod } from "../decode/speculative/drafter.ts";
import type { MethodName, ModelMethod } from "../decode/speculative/methods.ts";
import type { SpeculationPlan } from "../decode/speculative/option.ts";
import { PredictionDrafter } from "../decode/speculative/prediction.ts";
import { invariant } from "../errors.ts";
import type { StepLimits } from "./limits.ts";
import { ModelDrafts } from "./model-drafts.ts";
import type { EngineRequest, Sequence } from "./request.ts";
import { proposalOf } from "./work/draft.ts";
import { type DepthCount, type Speculator, surest, type VerifiedDraft } from "./speculator.ts";

/** Of so few sequences a step has room for rows that are all but certain; of more, rows are weighed. */
const FEW = 4;

interface Drafted {
  readonly plan: SpeculationPlan;
  /** Its drafts are verified whole, down to this depth; undefined: as far as they pay. */
  readonly depth: number | undefined;
  readonly drafters: readonly { readonly drafter: Drafter; readonly acceptance: Acceptance }[];
  /** The latest proposal, and the length that it is for. */
  proposal: DraftTree | undefined;
  length: number;
}

export interface SpeculationParts {
  readonly methods: ReadonlyMap<MethodName, DraftMethod | "model">;
  /** The method of each drafting model, in their order. */
  readonly models: readonly ModelMethod[];
  /** For requests that say nothing. */
  readonly plan: SpeculationPlan;
  /** The most nodes of a draft, whatever a request says. */
  readonly nodes: number;
  readonly limits: StepLimits;
}

export class Speculation implements Speculator {
  readonly depths: DepthCount[] = [];
  readonly #methods: ReadonlyMap<MethodName, DraftMethod | "model">;
  readonly #plan: SpeculationPlan;
  readonly #nodes: number;
  readonly #limits: StepLimits;
  /** Of the program that answers, then of those that draft. */
  readonly #costs = [new CostModel()];
  /** Of each drafting model its method, and what was measured of it. */
  readonly #models: readonly { readonly method: ModelMethod; readonly drafts: ModelDrafts }[];
  readonly #acceptance = new Map<string, Acceptance>();
  readonly #drafted = new WeakMap<Sequence, Drafted>();
  #chosen = new Map<Sequence, DraftTree>();

  constructor({ methods, models, plan, nodes, limits }: SpeculationParts) {
    this.#models = models.map((method) => ({ method, drafts: new ModelDrafts() }));
    this.#nodes = nodes;
    this.#methods = methods;
    this.#plan = plan;
    this.#limits = limits;
  }

  waits(running: readonly EngineRequest[]): boolean {
    const sequences = decoding(running);
    if (sequences.some(({ isDrafted }) => isDrafted)) return true;
    const depths = this.#models.map((_, model) => this.draftDepths(running, model, 1));
    if (sequences.some((sequence) => depths.some((depthOf) => depthOf(sequence) > 0))) return true;
    return this.#choose(sequences, ({ coming }) => coming.length === 1, behindFirst).size > 0;
  }

  begin(running: readonly EngineRequest[]): void {
    const isReady = ({ coming, length, planned }: Sequence): boolean => coming.length === 0 && planned === length - 1;
    this.#chosen = this.#choose(decoding(running), isReady, (tree) => tree);
  }

  propose(sequence: Sequence): DraftTree | undefined {
    // Beside the rows of a prompt those of a draft cost little.
    return sequence.pending > 1 ? surest(sequence.likely) : this.#chosen.get(sequence);
  }

  learn(sequence: Sequence, { tree, taken, sampleAt }: VerifiedDraft): void {
    const came = new Set(taken);
    for (const [node, depth] of depthsOf(tree).entries()) {
      const count = (this.depths[depth - 1] ??= { drafted: 0, accepted: 0 });
      count.drafted += 1;
      if (came.has(node)) count.accepted += 1;
    }
    for (const [model, { drafts }] of this.#models.entries())
      if ((sequence.drafts[model]?.depth ?? 0) > 0) drafts.verified(tree, taken);
    for (const { drafter } of this.#drafted.get(sequence)?.drafters ?? []) drafter.learn?.(tree, sampleAt);
  }

  end({ sequences }: EngineRequest): void {
    for (const sequence of sequences) {
      const { tokens, length } = sequence;
      for (const { drafter } of this.#drafted.get(sequence)?.drafters ?? []) drafter.end?.(tokens.subarray(0, length));
      this.#drafted.delete(sequence);
    }
  }

  draftDepths(running: readonly EngineRequest[], model: number, most: number): (sequence: Sequence) => number {
    const one = this.#models[model];
    invariant(one !== undefined, `there is no drafting model ${model}`);
    const costs = [0, model + 1].flatMap((program) => this.#costs[program] ?? []);
    const adaptive = one.drafts.depth(most, decoding(running).length, costs);
    return (sequence) => {
      const { plan } = this.#of(sequence);
      if (!plan.methods.includes(one.method)) return 0;
      if (plan.depth !== undefined) return Math.min(plan.depth, most);
      return adaptive === 0 && isProbe(sequence) ? most : adaptive;
    };
  }

  measure(program: number, rows: number, ms: number): void {
    (this.#costs[program] ??= new CostModel()).measure(rows, ms);
  }

  /** The drafts worth their rows, of the sequences that are ready for one. */
  #choose(
    sequences: readonly Sequence[],
    isReady: (sequence: Sequence) => boolean,
    shape: (tree: DraftTree) => DraftTree | undefined,
  ): Map<Sequence, DraftTree> {
    const chosen = new Map<Sequence, DraftTree>();
    const cost = (rows: number): number => this.#costs[0]?.cost(rows) ?? rows;
    const room = Math.min(this.#limits.maxOutputs, this.#limits.stepTokens) - sequences.length;
    const pays = couldPay(sequences.length, Math.min(room, this.#nodes * sequences.length), cost);
    const weighed: { readonly sequence: Sequence; readonly draft: DraftTree | undefined }[] = [];
    for (const sequence of sequences) {
      if (!isReady(sequence)) continue;
      const sure = sequences.length > FEW ? undefined : surest(sequence.likely && shape(sequence.likely));
      if (sure !== undefined) chosen.set(sequence, sure);
      const { depth, drafters } = this.#of(sequence);
      if (drafters.length === 0 || (depth === undefined && !pays)) continue;
      const proposal = this.#propose(sequence);
      const draft = proposal && shape(proposal);
      if (draft === undefined) continue;
      if (depth === undefined) weighed.push({ sequence, draft });
      else chosen.set(sequence, upTo(draft, depth));
    }
    const { drafts } = choose(
      weighed.map(({ draft }) => draft),
      sequences.length,
      room,
      cost,
    );
    for (const [i, { sequence }] of weighed.entries()) {
      const draft = drafts[i];
      if (draft === undefined) continue;
      const sure = chosen.get(sequence);
      chosen.set(sequence, sure === undefined ? draft : (merge([sure, draft]) ?? draft));
    }
    return chosen;
  }

  #propose(sequence: Sequence): DraftTree | undefined {
    const drafted = this.#of(sequence);
    const { tokens, length } = sequence;
    if (drafted.length === length) return drafted.proposal;
    const text = tokens.subarray(0, length);
    const nodes = Math.min(drafted.plan.nodes, this.#nodes);
    const trees: DraftTree[] = [];
    for (const { drafter, acceptance } of drafted.drafters) {
      acceptance.compare(text);
      const tree = drafter.propose(text, nodes);
      if (tree === undefined || tree.tokens.length === 0) continue;
      acceptance.watch(tree, length);
      trees.push(acceptance.measured(tree));
    }
    drafted.length = length;
    const proposal = merge(trees);
    drafted.proposal = proposal && likeliest(proposal, this.#nodes);
    return drafted.proposal;
  }

  /** A sequence's drafters, which begin to follow it when they are first asked for. */
  #of(sequence: Sequence): Drafted {
    const known = this.#drafted.get(sequence);
    if (known !== undefined) return known;
    const { prompt, cacheSalt = "", generate } = sequence.request.work;
    const plan = generate?.speculation ?? this.#plan;
    const drafters = plan.methods.map((name): Drafted["drafters"][number] => {
      const method = this.#methods.get(name);
      invariant(method !== undefined, `the method ${name} was let through and isn't there`);
      const drafter =
        method === "model" ? this.#modelDrafter(sequence, name) : method.follow({ prompt, tenant: cacheSalt });
      return { drafter, acceptance: new Acceptance(this.#measuredOf(name)) };
    });
    if (generate?.prediction !== undefined && plan.methods.length > 0) {
      const drafter = new PredictionDrafter(generate.prediction, prompt.length);
      drafters.push({ drafter, acceptance: new Acceptance(this.#measuredOf("prediction")) });
    }
    if (generate?.grammar !== undefined || generate?.budget !== undefined)
      drafters.push({
        drafter: { propose: () => sequence.likely },
        acceptance: new Acceptance(this.#measuredOf("likely")),
      });
    const invests = plan.methods.some((name) => this.#invests(name));
    const depth = plan.depth ?? (invests ? Infinity : undefined);
    const drafted = { plan, depth, drafters, proposal: undefined, length: -1 };
    this.#drafted.set(sequence, drafted);
    return drafted;
  }

  /** What the drafting models of a method have made for a sequence by now. */
  #modelDrafter({ drafts }: Sequence, name: MethodName): Drafter {
    return {
      propose: (tokens, room) => {
        const own = drafts.filter((_, model) => this.#models[model]?.method === name);
        for (const [model, { behind, depth, isDone }] of drafts.entries())
          if (own.some((one) => one === drafts[model]) && behind === tokens.length)
            this.#models[model]?.drafts.made(depth, isDone);
        const tree = proposalOf(own, tokens.length);
        return tree && likeliest(tree, room);
      },
    };
  }

  #invests(name: MethodName): boolean {
    const method = this.#methods.get(name);
    return method !== undefined && method !== "model" && method.invests === true;
  }

  #measuredOf(method: string): Acceptance {
    const acceptance = this.#acceptance.get(method) ?? new Acceptance();
    this.#acceptance.set(method, acceptance);
    return acceptance;
  }
}

/** The sequences that take one row in the next step, for an answer's next token. */
function decoding(running: readonly EngineRequest[]): Sequence[] {
  return running.flatMap(({ work, unforked, sequences }) =>
    work.generate === undefined || unforked.length > 0
      ? []
      : sequences.filter(
          ({ state, finished, pending, isDrafted }) => state !== undefined && !finished && (isDrafted || pending === 1),
        ),
  );
}

/** Now and then a model drafts a little although it didn't pay: texts change. */
function isProbe({ length }: Sequence): boolean {
  return length % 64 < 3;
}

function upTo(tree: DraftTree, depth: number): DraftTree {
  const depths = depthsOf(tree);
  return cut(tree, (node) => (depths[node] ?? 0) <= depth);
}
