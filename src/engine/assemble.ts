/**
 * From an open artifact and a backend to a model that answers: graph, memory, weights, program, engine, in that
 * order, and back in the opposite order when something on the way fails.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Backend, KvType, LoadProgress } from "../backend/contract.ts";
import { RequestError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { modelContext, modelGraph } from "../models/models.ts";
import { groupStates } from "../backend/groups.ts";
import { createChatTemplate } from "../chat/chat-template.ts";
import { createTokenizer, type Tokenizer } from "../tokenizer/tokenizer.ts";
import { Engine } from "./engine.ts";
import { InputProcessor } from "./input.ts";
import { Llm } from "./llm.ts";
import { planMemory } from "./memory-plan.ts";

export interface EngineOptions {
  /** Positions of prompt and answer together. Default: the model's, at most 8,192. */
  readonly context?: number | undefined;
  /** Storage of keys and values. Default "f16". */
  readonly kv?: KvType | undefined;
  /** The KV budget. Default: four sequences of full length, at most 1 GiB, at least one. */
  readonly kvBytes?: number | undefined;
  /** Sequences that run at once; more requests wait. Default 32. */
  readonly maxSequences?: number | undefined;
  /** The most tokens that one step computes: the largest chunk of a prefill. Default 512. */
  readonly chunk?: number | undefined;
}

const DEFAULT_CONTEXT = 8192;
/** Logits of rows that a score wants lie in memory together: at most so many bytes, so many rows. */
const SCORE_BYTES = 32 * 2 ** 20;
const MAX_SCORE_ROWS = 256;

/** Takes ownership of artifact and backend: they are closed with the Llm, or when assembling fails. */
export async function assemble(
  artifact: ModelArtifact,
  backend: Backend,
  options: EngineOptions & {
    readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
    readonly signal?: AbortSignal | undefined;
  } = {},
): Promise<Llm> {
  const closers: (() => Promise<void> | void)[] = [() => artifact.close(), () => backend.close()];
  const release = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const { kv = "f16", onProgress, signal } = options;
    const maxSequences = positive("maxSequences", options.maxSequences ?? 32);
    const context = positive("context", options.context ?? Math.min(modelContext(artifact), DEFAULT_CONTEXT));
    const { graph } = await modelGraph(artifact, { context });
    checkPositions(graph, context);
    const chunk = Math.min(positive("chunk", options.chunk ?? 512), context);
    const groups = groupStates(graph);
    const memory = planMemory(backend, graph, groups, { kv, context, chunk, kvBytes: options.kvBytes });
    const tokenizer = createTokenizer(artifact.tokenizer);
    const template =
      artifact.chatTemplate === undefined ? undefined : createChatTemplate(artifact.chatTemplate, special(tokenizer));

    const weights = await backend.upload(artifact, graph, {
      ...(onProgress && { onProgress }),
      ...(signal && { signal }),
    });
    closers.push(() => weights.close());
    const pool = backend.allocate(graph, groups, memory.blocks, kv);
    closers.push(() => pool.close());
    const scoreRows = Math.max(1, Math.min(MAX_SCORE_ROWS, Math.floor(SCORE_BYTES / (4 * graph.vocabSize))));
    const limits = {
      maxTokens: chunk,
      maxSequences,
      maxOutputs: maxSequences + scoreRows,
      context,
      vocabSize: graph.vocabSize,
    };
    const program = backend.compile(graph, weights, pool, { ...limits, samplerSlots: maxSequences });
    closers.push(() => program.close());

    return new Llm({
      info: {
        model: artifact.name,
        description: graph.name,
        vocabSize: graph.vocabSize,
        context,
        modelContext: graph.contextLength,
        weightBytes: weights.bytes,
        kvBytes: pool.bytes,
        kvTokens: memory.tokens,
        kv,
        profile: backend.profile(kv),
        hasChatTemplate: template !== undefined,
      },
      tokenizer,
      input: new InputProcessor(tokenizer, template, artifact.generation, graph.vocabSize, context),
      client: new Engine(program, pool, limits),
      release,
    });
  } catch (error) {
    await release();
    throw error;
  }
}

/** Positions that a model learned one by one (GPT-2) have an end; rotated ones don't. */
function checkPositions(graph: Graph, context: number): void {
  const learned = graph.nodes.find((node) => node.op === "positionEmbed")?.weight.shape[0] ?? Infinity;
  if (context > learned)
    throw new RequestError(`context is ${context}, but the model has learned only ${learned} positions`);
}

function positive(name: string, value: number): number {
  if (Number.isInteger(value) && value > 0) return value;
  throw new RequestError(`${name} must be a whole number above 0, not ${String(value)}`);
}

function special(tokenizer: Tokenizer): { bos?: string; eos?: string } {
  const { bosId, eosId } = tokenizer;
  return {
    ...(bosId === undefined ? {} : { bos: tokenizer.tokenText(bosId) }),
    ...(eosId === undefined ? {} : { eos: tokenizer.tokenText(eosId) }),
  };
}
