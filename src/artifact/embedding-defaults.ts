/**
 * How a model's makers turn its rows into one vector: sentence-transformers' modules.json and 1_Pooling/config.json, or
 * GGUF's `pooling_type`. Dense modules are read by whoever opens the folder (node-dense.ts) and put in here; modules that
 * compute more than that, pooling and a length of 1 are named, so that whoever embeds can refuse.
 */
import type { DenseLayer, EmbeddingDefaults, MetaObject, MetaValue } from "./artifact.ts";

/** GGUF's `pooling_type`, as llama.cpp numbers it; 0 is none, 4 a classifier's. */
const GGUF_POOLINGS: Readonly<Record<number, EmbeddingDefaults["pooling"]>> = { 1: "mean", 2: "first", 3: "last" };
/** What sentence-transformers calls them. */
const HF_POOLINGS = {
  pooling_mode_cls_token: "first",
  pooling_mode_mean_tokens: "mean",
  pooling_mode_lasttoken: "last",
} as const;
const KNOWN_MODULES = new Set(["Transformer", "Pooling", "Normalize"]);

export function ggufEmbedding(architecture: string, metadata: MetaObject): EmbeddingDefaults {
  const pooling = GGUF_POOLINGS[Number(metadata[`${architecture}.pooling_type`] ?? 0)];
  return pooling === undefined ? {} : { pooling };
}

/** `modules`: modules.json, `pooling`: 1_Pooling/config.json; undefined where the model has none. `dense`: its Dense modules. */
export function hfEmbedding(
  modules: MetaValue | undefined,
  pooling: MetaObject | undefined,
  dense: readonly DenseLayer[] = [],
): EmbeddingDefaults {
  const types = Array.isArray(modules) ? (modules as readonly MetaValue[]).map(typeOf) : [];
  const set = Object.entries(HF_POOLINGS).filter(([key]) => pooling?.[key] === true);
  const [only] = set;
  const unread = [
    ...types.filter(
      (type) => type !== undefined && !KNOWN_MODULES.has(type) && (type !== "Dense" || dense.length === 0),
    ),
    ...Object.entries(pooling ?? {}).flatMap(([key, value]) =>
      key.startsWith("pooling_mode_") && value === true && !(key in HF_POOLINGS) ? [key] : [],
    ),
    ...(set.length > 1 ? ["several poolings side by side"] : []),
  ].filter((type) => type !== undefined);
  return {
    ...(only !== undefined && set.length === 1 && { pooling: only[1] }),
    ...(dense.length > 0 && { dense }),
    ...(types.length > 0 && { normalize: types.includes("Normalize") }),
    ...(unread.length > 0 && { unread }),
  };
}

/** The folders of a modules.json's Dense modules, in order. */
export function denseFolders(modules: MetaValue | undefined): string[] {
  if (!Array.isArray(modules)) return [];
  return (modules as readonly MetaValue[]).flatMap((module) => {
    const path = typeOf(module) === "Dense" ? (module as MetaObject)["path"] : undefined;
    return typeof path === "string" && /^[\w.-]+$/.test(path) ? [path] : [];
  });
}

/** "sentence_transformers.models.Pooling" → "Pooling". */
function typeOf(module: MetaValue): string | undefined {
  if (typeof module !== "object" || module === null || Array.isArray(module)) return undefined;
  const type = (module as MetaObject)["type"];
  return typeof type === "string" ? type.slice(type.lastIndexOf(".") + 1) : undefined;
}
