/**
 * load(): a model reference → a model that answers. It opens the artifact, makes the backend, and leaves the rest to
 * assemble.ts; what it says in its types is the public API (src/index.ts).
 */
import type { AdapterArtifact } from "../artifact/adapter-artifact.ts";
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Backend } from "../backend/contract.ts";
import { checkChoice, checkNumber, checkOptions, checkType, shown } from "../decode/limits.ts";
import type { WordReader } from "../decode/speculative/datastore.ts";
import { MODEL_METHODS, type ModelMethod } from "../decode/speculative/methods.ts";
import { DEFAULT_NODES, parseSpeculation } from "../decode/speculative/option.ts";
import { RequestError } from "../errors.ts";
import { withFront } from "./assemble.ts";
import type { DraftingOptions } from "./drafting-models.ts";
import { ADMISSION_NAMES } from "./policies/admission.ts";
import type { Llm } from "./llm.ts";
import { assembleEngine, type LoadedEngine } from "./loaded-engine.ts";
import type { LoadOptions } from "./options.ts";
export type { EngineOptions, LoadEvent, LoadOptions } from "./options.ts";

/**
 * Loads a model. The reference is a path to a GGUF file, a folder with safetensors (or one GGUF),
 * `hf:owner/repo[:file-or-quant]`, or nothing: the built-in model.
 *
 * @throws ArtifactError where the files are missing or malformed, UnsupportedError where Millrace lacks what they
 * need, MemoryError with the numbers, NetworkError, NativeError where the kernels can't be built.
 * @example
 * const llm = await load();
 * const { text } = await llm.chat([{ role: "user", content: "Why is the sky blue?" }], { maxTokens: 64 });
 * await llm.close();
 */
export async function load(reference?: string, options: LoadOptions = {}): Promise<Llm> {
  checkLoadOptions(options);
  if (options.thread !== true) return withFront(await loadEngine(reference, options));
  const { loadInThread } = await import("./thread/node-thread.ts");
  return loadInThread(reference, options);
}

/** The engine half alone. */
export async function loadEngine(reference: string | undefined, options: LoadOptions): Promise<LoadedEngine> {
  const { onProgress, signal } = options;
  const artifact = await openReference(reference, options);
  let backend: Backend;
  try {
    backend = await createBackend(options);
  } catch (error) {
    await artifact.close();
    throw error;
  }
  const name = artifact.name;
  let drafting: readonly DraftingOptions[];
  let datastore: WordReader | undefined;
  try {
    drafting = await openDrafts(reference, options);
    const file = typeof options.speculation === "object" ? options.speculation.datastore : undefined;
    if (file !== undefined) datastore = (await import("../artifact/node-words.ts")).openWords(file);
  } catch (error) {
    await artifact.close();
    await backend.close();
    throw error;
  }
  return assembleEngine(artifact, backend, {
    ...options,
    speculation: options.speculation ?? "auto",
    drafting,
    datastore,
    signal,
    openAdapter: (adapter) => openAdapterReference(adapter, options),
    onProgress:
      onProgress &&
      (({ loadedBytes, totalBytes }) => onProgress({ stage: "load", name, done: loadedBytes, total: totalBytes })),
  });
}

/** Tokens that a drafting model makes at most: beyond these, they hardly ever come true. */
const MOST_DRAFTED = 8;
/** Rows of a step of a head that drafts trees. */
const TREE_BEAM = 3;

/** The models and heads that draft, where any are asked for: the one that is named, then what the built-in model has. */
async function openDrafts(reference: string | undefined, options: LoadOptions): Promise<DraftingOptions[]> {
  const { speculation = "auto" } = options;
  const { methods } = parseSpeculation(speculation);
  const wanted = MODEL_METHODS.filter((method) => methods.includes(method));
  const { model: named, tree = 0 } = typeof speculation === "object" ? speculation : {};
  // Who asks for a larger tree has rows to spare: heads then draft trees, not chains.
  const beam = tree > DEFAULT_NODES ? { beam: TREE_BEAM } : {};
  const opened: DraftingOptions[] = [];
  for (const [i, method] of wanted.entries()) {
    if (method === "skip") {
      const { skip } = typeof speculation === "object" ? speculation : {};
      opened.push({ method, depth: MOST_DRAFTED, ...(skip && { skip }) });
      continue;
    }
    const file = i === 0 && methods.includes(method) ? named : undefined;
    const artifact =
      file !== undefined
        ? await openReference(file, options)
        : reference === undefined
          ? await openBuiltinDraft(method)
          : undefined;
    if (artifact !== undefined) opened.push({ artifact, method, depth: MOST_DRAFTED, ...beam });
  }
  return opened;
}

async function openBuiltinDraft(method: ModelMethod): Promise<ModelArtifact | undefined> {
  const { builtinDraftPath } = await import("../artifact/node-builtin.ts");
  const path = builtinDraftPath(method);
  return path === undefined ? undefined : openReference(path);
}

/** All of them before anything is opened: a wrong one costs nobody time or memory. */
function checkLoadOptions(options: LoadOptions): void {
  checkOptions(options);
  const numbers = ["context", "kvBytes", "maxSequences", "stepTokens", "chunkTokens", "threads", "swapBytes"] as const;
  for (const name of [...numbers, "maxAdapters", "maxRank", "adapterBytes"] as const)
    if (options[name] !== undefined) checkNumber(name, options[name]);
  if (options.backend !== undefined) checkChoice("backend", options.backend, ["cpu", "reference"]);
  if (options.admission !== undefined) checkChoice("admission", options.admission, ADMISSION_NAMES);
  if (options.kv !== undefined) checkChoice("kv", options.kv, ["f16", "f32", "q8"]);
  if (options.speculation !== undefined) parseSpeculation(options.speculation);
  for (const [name, reference] of Object.entries(options.adapters ?? {}))
    checkType(`adapters.${name}`, reference, "string");
  checkType("isa", options.isa, "string");
  checkType("offline", options.offline, "boolean");
  checkType("thread", options.thread, "boolean");
  checkType("packedCache", options.packedCache, "boolean");
  checkType("onProgress", options.onProgress, "function");
}

// Files and the addon are Node's; imported when needed, so that the core runs in a browser too.

/** The artifact that a reference means, as `load` finds it: for tools that need no engine. */
export async function openReference(reference: string | undefined, options: LoadOptions = {}): Promise<ModelArtifact> {
  const { onProgress, offline, signal } = options;
  if (reference !== undefined && (typeof reference !== "string" || reference === ""))
    throw new RequestError(`a model is named by a path or "hf:owner/repo", not by ${shown(reference)}`);
  if (reference === undefined) {
    const { builtinModelPath } = await import("../artifact/node-builtin.ts");
    const { openArtifact } = await import("../artifact/node-open.ts");
    return openArtifact(builtinModelPath());
  }
  const { openModel } = await import("../artifact/node-model.ts");
  return openModel(reference, {
    offline,
    signal,
    onProgress:
      onProgress && (({ file, loaded, total }) => onProgress({ stage: "download", name: file, done: loaded, total })),
  });
}

/** The adapter that a reference means: a folder as PEFT saves it, a GGUF file, or one of the hub. */
export async function openAdapterReference(reference: string, options: LoadOptions = {}): Promise<AdapterArtifact> {
  const { onProgress, offline, signal } = options;
  if (typeof reference !== "string" || reference === "")
    throw new RequestError(`an adapter is named by a path or "hf:owner/repo", not by ${shown(reference)}`);
  const { openAdapter } = await import("../artifact/node-adapter.ts");
  return openAdapter(reference, {
    offline,
    signal,
    onProgress:
      onProgress && (({ file, loaded, total }) => onProgress({ stage: "download", name: file, done: loaded, total })),
  });
}

/** The backend that `load` would use. The caller closes it. */
export async function createBackend({
  backend = "cpu",
  threads,
  isa,
  packedCache = true,
  onProgress,
  signal,
}: LoadOptions): Promise<Backend> {
  if (backend === "reference") {
    const { createReferenceBackend } = await import("../backend/reference/backend.ts");
    return createReferenceBackend();
  }
  const { createCpuBackend } = await import("../backend/cpu/backend.ts");
  return createCpuBackend({
    threads,
    ...(isa === undefined ? {} : { isa }),
    packedCache,
    signal,
    onBuild: onProgress && (({ done, total, what }) => onProgress({ stage: "compile", name: what, done, total })),
  });
}
