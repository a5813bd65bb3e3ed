/** Loads the model that a command's flags name, or its tokenizer alone, with progress on stderr and Ctrl-C heard. */
import type { AdapterArtifact } from "../artifact/adapter-artifact.ts";
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Lowered } from "../backend/contract.ts";
import { groupStates } from "../backend/groups.ts";
import type { Llm } from "../engine/llm.ts";
import {
  createBackend,
  type EngineOptions,
  load,
  type LoadEvent,
  type LoadOptions,
  openAdapterReference,
  openReference,
} from "../engine/load.ts";
import { modelContext, modelGraph } from "../models/models.ts";
import { createTokenizer, type Tokenizer } from "../tokenizer/tokenizer.ts";
import type { DRAFTS, MODEL } from "./common-flags.ts";
import type { Values } from "./flags.ts";
import { ProgressLine } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

export type ModelFlags = Values<(typeof MODEL)["flags"]>;
/** What it takes to find a model's files. */
export type ReferenceFlags = Pick<ModelFlags, "model" | "offline">;

/** What --speculation and --draft ask for. */
export function speculationOf(flags: Values<(typeof DRAFTS)["flags"]>): EngineOptions["speculation"] {
  const { speculation, draft, datastore } = flags;
  if (draft === undefined && datastore === undefined) return speculation;
  const named = [...(draft === undefined ? [] : ["draft"]), ...(datastore === undefined ? [] : ["rest"])];
  return { drafter: speculation ?? named.join("+"), model: draft, datastore };
}

export async function loadModel(
  flags: ModelFlags,
  terminal: Terminal,
  engine: EngineOptions & Pick<LoadOptions, "thread"> = {},
): Promise<Llm> {
  const { model, context, kv, backend, threads } = flags;
  return withProgress(terminal, (progress) =>
    load(model, { ...engine, context, kv, backend, threads, ...networkOptions(flags), ...progress }),
  );
}

/** An adapter's headers, where a reference means one; undefined: it means a model. The caller closes it. */
export async function openIfAdapter(flags: ReferenceFlags, terminal: Terminal): Promise<AdapterArtifact | undefined> {
  const reference = flags.model;
  if (reference === undefined) return undefined;
  const { isAdapter } = await import("../artifact/node-adapter.ts");
  if (!(await isAdapter(reference))) return undefined;
  return withProgress(terminal, (progress) =>
    openAdapterReference(reference, { ...networkOptions(flags), ...progress }),
  );
}

/** The files' headers alone: no weights are read. The caller closes it. */
export async function openFiles(flags: ReferenceFlags, terminal: Terminal): Promise<ModelArtifact> {
  return withProgress(terminal, (progress) => openReference(flags.model, { ...networkOptions(flags), ...progress }));
}

export async function openTokenizer(flags: ReferenceFlags, terminal: Terminal): Promise<Tokenizer> {
  const artifact = await openFiles(flags, terminal);
  try {
    return createTokenizer(artifact.tokenizer);
  } finally {
    await artifact.close();
  }
}

/** The graph of a step, as its family builds it and as the backend runs it. No weights are read. */
export async function lowerModel(
  artifact: ModelArtifact,
  flags: Pick<ModelFlags, "context" | "kv" | "backend">,
  terminal: Terminal,
): Promise<Lowered> {
  const { graph } = await modelGraph(artifact, { context: flags.context ?? modelContext(artifact) });
  const backend = await withProgress(terminal, (progress) => createBackend({ backend: flags.backend, ...progress }));
  const lowered = backend.lower(graph, artifact, groupStates([graph], flags.kv ?? "f16"));
  await backend.close();
  return lowered;
}

/**
 * What tokens depend on beside the request (backend, ISA path, KV type, kernel version), as `load` would have it, and where the
 * kernels come from.
 */
export async function numericProfile(
  flags: Pick<ModelFlags, "kv" | "backend">,
  terminal: Terminal,
): Promise<{ readonly profile: string; readonly made: string | undefined }> {
  const backend = await withProgress(terminal, (progress) => createBackend({ backend: flags.backend, ...progress }));
  const profile = backend.profile(flags.kv ?? "f16");
  await backend.close();
  return { profile, made: backend.made };
}

/** Without the flag the environment decides (MILLRACE_OFFLINE). */
function networkOptions(flags: ReferenceFlags): { offline?: true } {
  return flags.offline ? { offline: true } : {};
}

interface ProgressOptions {
  readonly onProgress: (event: LoadEvent) => void;
  readonly signal: AbortSignal;
}

async function withProgress<T>(terminal: Terminal, work: (options: ProgressOptions) => Promise<T>): Promise<T> {
  return withLoadProgress(terminal, (onProgress) => work({ signal: terminal.signal, onProgress }));
}

/** Tells on a progress line how files and kernels come; the work may go on on the same line. */
export async function withLoadProgress<T>(
  terminal: Terminal,
  work: (onProgress: (event: LoadEvent) => void, line: ProgressLine) => Promise<T>,
): Promise<T> {
  const line = new ProgressLine(terminal);
  const onProgress = ({ stage, name, done, total }: LoadEvent): void => {
    if (stage === "compile" && total === 0) terminal.note(name);
    else if (stage === "compile") line.update("compile the kernels (once)", done, total, "steps");
    else line.update(`${stage} ${baseName(name)}`, done, total, "bytes");
  };
  try {
    return await work(onProgress, line);
  } finally {
    line.clear();
  }
}

function baseName(file: string): string {
  return file.split("/").at(-1) ?? file;
}
