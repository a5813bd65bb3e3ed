/**
 * From an open artifact and a backend to an engine that works: graph, memory, weights, program, engine, in that order, and
 * back in the opposite order when something on the way fails. What the front half needs to know of it, texts and all, is its
 * card (model-card.ts); this half sees ids only, and can stand in a thread of its own.
 */
import type { GenerationDefaults, ModelArtifact } from "../artifact/artifact.ts";
import { type Backend, BORDER_TOKENS, type LoadProgress } from "../backend/contract.ts";
import { groupStates } from "../backend/groups.ts";
import { MOST_LIKELY } from "../decode/grammar/likely-tokens.ts";
import type { TokenTable } from "../decode/grammar/vocabulary.ts";
import { checkNumber } from "../decode/limits.ts";
import { DEFAULT_NODES, parseSpeculation, type SpeculationPlan } from "../decode/speculative/option.ts";
import { invariant, RequestError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphInputs, outputShapes, tokenIdsOf } from "../graph/interface.ts";
import { withFeatures } from "../models/heads/target.ts";
import { modelContext, modelGraph, pairForm } from "../models/models.ts";
import { createTokenizer, type Tokenizer } from "../tokenizer/tokenizer.ts";
import { adapterOpener, adapterRoom } from "./adapter-files.ts";
import { Adapters } from "./adapters.ts";
import { draftMethods } from "./draft-methods.ts";
import { type DraftingGraph, draftingGraph, withHeads } from "./drafting-models.ts";
import { type DraftingProgram, Engine } from "./engine.ts";
import { Grammars } from "./grammars.ts";
import { planMemory } from "./memory-plan.ts";
import type { ModelCard } from "./model-card.ts";
import type { AssembleOptions } from "./options.ts";
import { compileOptions, draftingOptions } from "./program-limits.ts";
import { ADMISSIONS } from "./policies/admission.ts";
import { Balanced } from "./policies/balanced.ts";
import { Speculation } from "./speculation.ts";
import { always } from "./speculator.ts";
import { swapSeconds } from "./swap.ts";

/** An engine, and what a front half needs to talk to it. */
export interface LoadedEngine {
  readonly card: ModelCard;
  readonly client: Engine;
  readonly tokenizer: Tokenizer;
  /** Frees what lies under the engine, once that is closed: program, pool, weights, backend, files. */
  readonly release: () => Promise<void>;
}

export interface LoadEngineOptions extends AssembleOptions {
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_CONTEXT = 8192;
/** Nodes of a draft where tests let models draft as much as they may. */
const MOST_DRAFTED = 64;
/** Logits of rows that a score wants lie in memory together: at most so many bytes, so many rows. */
const SCORE_BYTES = 32 * 2 ** 20;
const MAX_SCORE_ROWS = 256;

/** Takes ownership of artifact and backend: they are closed by `release`, or when assembling fails. */
export async function assembleEngine(
  artifact: ModelArtifact,
  backend: Backend,
  options: LoadEngineOptions = {},
): Promise<LoadedEngine> {
  const { drafter, drafting = [] } = options;
  const closers: (() => Promise<void> | void)[] = [
    () => options.datastore?.close(),
    ...[artifact, ...drafting.flatMap((one) => one.artifact ?? [])].map((file) => () => file.close()),
    () => backend.close(),
  ];
  const release = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const { kv = "f16", admission = "peak", onProgress, signal } = options;
    const maxSequences = checkNumber("maxSequences", options.maxSequences ?? 32);
    const context = checkNumber("context", options.context ?? Math.min(modelContext(artifact), DEFAULT_CONTEXT));
    const { graph: own, variant } = await modelGraph(artifact, { context });
    checkPositions(own, context);
    const tokenizer = createTokenizer(artifact.tokenizer);
    const drafts: DraftingGraph[] = [];
    const both = withHeads(artifact, drafting);
    for (const [i, one] of drafting.entries())
      drafts.push(await draftingGraph(one, i, { graph: own, tokenizer, context, artifact: both }));
    const graph = withFeatures(own, [...new Set(drafts.flatMap(({ features }) => features))]);
    for (const draft of drafts) checkPositions(draft.graph, context);
    const models = drafts.map(({ method }) => method);
    const isDrafted = drafter !== undefined || drafting.length > 0;
    const insisting: SpeculationPlan = { methods: models, depth: MOST_DRAFTED, nodes: MOST_DRAFTED };
    const given = options.speculation ?? (drafting.length > 0 ? undefined : "auto");
    const plan = given === undefined ? insisting : parseSpeculation(given);
    const { datastore } = options;
    const needs = { tokenizer, vocabSize: graph.vocabSize, datastore, models };
    const methods = draftMethods(plan, needs);
    const nodes = plan.methods.length === 0 ? 0 : Math.max(DEFAULT_NODES, plan.nodes);
    const { depth = drafter === undefined ? 2 : 1, maxDraft = isDrafted ? 64 : Math.max(MOST_LIKELY, nodes) } = options;
    const outputs = outputShapes(graph);
    const inputs = [...graphInputs(graph)].map(([name, width]) => ({ name, width }));
    // An encoder: its tokens see each other, so a text is one step's.
    const mutual = !graph.outputs.has("logits");
    const vocabSize = tokenIdsOf(graph) ?? graph.vocabSize;
    const headRows = Math.max(0, ...drafts.map((one) => one.depth * one.beam));
    const treeSlots = Math.max(
      headRows,
      2 * (drafter === undefined && (given !== undefined || drafting.length < 2) ? nodes : maxDraft),
    );
    const scoreRows = Math.max(1, Math.min(MAX_SCORE_ROWS, Math.floor(SCORE_BYTES / (4 * graph.vocabSize))));
    const stepTokens = Math.min(checkNumber("stepTokens", options.stepTokens ?? (mutual ? context : 512)), context);
    const limits = {
      stepTokens,
      maxSequences,
      maxOutputs: maxSequences + Math.max(scoreRows, maxDraft, mutual ? stepTokens : 0),
      maxListed: maxDraft * Math.max(maxDraft, maxSequences),
      maxDraft,
      treeSlots,
      context,
      depth,
    };
    const ahead = depth * limits.stepTokens + treeSlots;
    if (maxDraft > BORDER_TOKENS && graph.states.some(({ kind }) => kind === "recurrent")) {
      throw new RequestError(`maxDraft is ${maxDraft}; with recurrent state it is at most ${BORDER_TOKENS}`);
    }
    const groups = groupStates([graph, ...drafts.map((draft) => draft.graph)], kv);
    const positions = context + treeSlots;
    const memory = planMemory(backend, groups, { context: positions, ahead, kvBytes: options.kvBytes });
    const lowered = backend.lower(graph, both, groups);
    const draftsLowered = drafts.map((draft) => backend.lower(draft.graph, draft.artifact, groups));
    const weights = await backend.upload([lowered, ...draftsLowered], {
      ...(onProgress && { onProgress }),
      ...(signal && { signal }),
    });
    closers.push(() => weights.close());
    for (const file of [artifact, ...drafts.map((draft) => draft.artifact)]) await checkUnchanged(file);
    const { maxAdapters, maxRank, maxBytes } = await adapterRoom(options, options.openAdapter);
    const pool = await backend.allocate(groups, memory.blocks);
    closers.push(() => pool.close());
    const compiled = { ...compileOptions(limits, groups.length, outputs, inputs), maxAdapters, maxRank };
    const program = await backend.compile(lowered, weights, pool, compiled);
    closers.push(() => program.close());
    const adapters = new Adapters({
      program,
      maxAdapters,
      maxRank,
      maxBytes,
      open: adapterOpener(artifact, options.openAdapter),
      upload: (adapter) => backend.uploadAdapter(lowered, adapter),
    });
    closers.push(() => adapters.close());
    for (const [name, reference] of Object.entries(options.adapters ?? {})) await adapters.load(name, reference);
    const draftPrograms: DraftingProgram[] = [];
    for (const [i, draft] of drafts.entries()) {
      const draftLowered = draftsLowered[i];
      invariant(draftLowered !== undefined, "a drafting model was not lowered");
      const compiled = draftingOptions(limits, groups.length, draft.beam);
      const one = await backend.compile(draftLowered, weights, pool, compiled);
      closers.push(() => one.close());
      const widths = graphInputs(draft.graph);
      const inputWidths = (compiled.inputs ?? []).map((name) => widths.get(name) ?? 0);
      draftPrograms.push({ ...draft, program: one, options: compiled, inputWidths });
    }

    const swapBytes = options.swapBytes === undefined ? 0 : checkNumber("swapBytes", options.swapBytes);
    const client = new Engine({
      program,
      limits,
      outputs,
      inputs,
      policy: options.policy ?? new Balanced({ admission: ADMISSIONS[admission], chunkTokens: options.chunkTokens }),
      speculation:
        drafter === undefined
          ? maxDraft > 0
            ? new Speculation({ methods, models, plan, nodes: maxDraft, limits })
            : undefined
          : always(drafter),
      drafting: draftPrograms,
      grammars: new Grammars(tokenTable(tokenizer, artifact.generation, vocabSize)),
      prefixCache: options.prefixCache ?? true,
      swap:
        swapBytes === 0
          ? undefined
          : { bytes: swapBytes, secondsPerBlock: options.swapSeconds ?? (await swapSeconds(pool)) },
      adapters,
    });
    const card = {
      info: {
        model: artifact.name,
        description: graph.name,
        vocabSize,
        context,
        modelContext: graph.contextLength,
        weightBytes: weights.bytes,
        kvBytes: pool.bytes,
        swapBytes,
        kvTokens: memory.tokens,
        kv,
        maxSequences,
        stepTokens: limits.stepTokens,
        profile: [backend.profile(kv), ...(variant === undefined ? [] : [variant])].join("-"),
        hasChatTemplate: artifact.chatTemplate !== undefined,
      },
      tokenizer: artifact.tokenizer,
      chatTemplate: artifact.chatTemplate,
      generation: artifact.generation,
      embedding: artifact.embedding ?? {},
      pairs: pairForm(artifact.config.architecture, graph),
      outputs,
      mutual,
      methods: nodes === 0 ? [] : [...methods.keys()],
    };
    return { card, client, tokenizer, release };
  } catch (error) {
    await release();
    throw error;
  }
}

/** A file that was written to while it was loaded gives weights of two models: no error of arithmetic would show it. */
async function checkUnchanged({ tensors }: ModelArtifact): Promise<void> {
  const sources = new Set([...tensors.values()].map(({ source }) => source));
  for (const source of sources) await source.checkUnchanged?.();
}

/** Positions that a model learned one by one (GPT-2) have an end; rotated ones don't. */
function checkPositions(graph: Graph, context: number): void {
  const learned = graph.nodes.find((node) => node.op === "positionEmbed")?.weight.shape[0] ?? Infinity;
  if (context > learned)
    throw new RequestError(`context is ${context}, but the model has learned only ${learned} positions`);
}

/** What grammars must know of the vocabulary. The model may have rows for tokens that the tokenizer lacks: they are no text. */
function tokenTable(tokenizer: Tokenizer, { eosTokenIds = [] }: GenerationDefaults, vocabSize: number): TokenTable {
  return {
    vocabSize,
    stopIds: new Set([...tokenizer.stopIds, ...eosTokenIds].filter((id) => id < vocabSize)),
    tokenBytes: (id) => (id < tokenizer.vocabSize ? tokenizer.tokenBytes(id) : new Uint8Array()),
    isSpecial: (id) => id < tokenizer.vocabSize && tokenizer.isSpecial(id),
    tokenText: (id) => tokenizer.tokenText(id),
  };
}
