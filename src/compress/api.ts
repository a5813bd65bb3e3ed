/**
 * compress(): from a model's name and a recipe to a file, as a program or the command calls it. It opens the files, makes
 * threads and a backend, and leaves the rest to `compress.ts`. Recipes, with every pass behind them, are imported when one
 * is run: who only loads models doesn't wait for them. (So are Node's files.)
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import { describeGguf } from "../artifact/gguf-artifact.ts";
import { createBackend, load, type LoadEvent, openReference } from "../engine/load.ts";
import { RequestError } from "../errors.ts";
import { createTokenizer } from "../tokenizer/tokenizer.ts";
import { type Calibration, calibrateWith, calibrateWithModel, SEQUENCE_TOKENS } from "./calibration.ts";
import { type Compressed, type CompressProgress, planRecipe, runKey, runRecipe } from "./compress.ts";
import { hfOutput } from "./hf-output.ts";
import { imatrixBytes, readImatrix } from "./imatrix.ts";
import { measureImportance } from "./importance.ts";
import type { Layout } from "./packed.ts";
import type { PassProgress } from "./pass.ts";
import type { RecipeSource } from "./presets.ts";
import type { Recipe } from "./recipe.ts";
export type { PassReport } from "./report.ts";
export type { CompressProgress } from "./compress.ts";
export type { RecipeSource } from "./presets.ts";

export interface CompressOptions {
  /** A preset's name, or passes with their options. */
  readonly recipe: string | RecipeSource;
  /**
   * The GGUF file to write (NAME.gguf), or a folder for safetensors. Beside it, OUT.work keeps what was computed until it is
   * whole.
   */
  readonly out: string;
  /** How the folder's safetensors hold the integers that the recipe made. Default: as the floats that they stand for. */
  readonly layout?: Layout | undefined;
  /** Texts whose activations tell what matters; "self": text that the model writes, where no data may be used. */
  readonly calibrate?: readonly { readonly name: string; readonly text: string }[] | "self" | undefined;
  /** An importance matrix of llama.cpp's, instead of measuring one. */
  readonly imatrix?: { readonly name: string; readonly bytes: Uint8Array } | undefined;
  /** Tokens of them that are used. Default 16,384. */
  readonly tokens?: number | undefined;
  /** Default: the machine's cores. */
  readonly threads?: number | undefined;
  /** Never ask the network. */
  readonly offline?: boolean | undefined;
  readonly onProgress?: ((progress: CompressProgress) => void) | undefined;
  /** Downloads, and the kernels' first compilation. */
  readonly onLoad?: ((event: LoadEvent) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface CompressResult {
  readonly out: string;
  /** Bytes of tensors before and after. */
  readonly from: number;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  /** What each pass tells of what it did. */
  readonly reports: Compressed["reports"];
}

export interface CompressPlan extends Pick<CompressResult, "from" | "bytes" | "bitsPerWeight"> {
  readonly tensors: readonly {
    readonly name: string;
    readonly from: string;
    readonly dtype: string;
    readonly shape: readonly number[];
    readonly byteLength: number;
  }[];
}

/**
 * Makes a model smaller and writes it. A run that was interrupted goes on where it was when it is called again, to the same
 * bytes.
 * @param model as `load` takes it
 * @throws RequestError where the recipe is wrong or wants text that isn't there, UnsupportedError where a pass can't do this
 * model, and what `load` throws
 * @example
 * await compress("model.gguf", { recipe: "q4_k_m", out: "small.gguf" });
 */
export async function compress(model: string | undefined, options: CompressOptions): Promise<CompressResult> {
  const { out, layout, threads, onProgress, onLoad, signal } = options;
  if (layout !== undefined && /\.gguf$/i.test(out))
    throw new RequestError(`${out}: the layout ${layout} is one of folders`);
  const recipe = await recipeOf(options.recipe);
  const [{ writeGguf }, { writeHfFolder }, { FolderStore }, { createToolkit }] = await Promise.all([
    import("../artifact/node-gguf.ts"),
    import("../artifact/node-hf-folder.ts"),
    import("../artifact/node-store.ts"),
    import("../backend/cpu/toolkit.ts"),
  ]);
  const artifact = await openReference(model, { offline: options.offline, onProgress: onLoad, signal });
  try {
    const calibration = await calibrationOf(model, artifact, options);
    const work = new FolderStore(`${out}.work`);
    const importance = options.imatrix && (await readImatrix(options.imatrix.name, options.imatrix.bytes));
    const key = await runKey(artifact, recipe, { calibration, importance });
    await work.removeOthers(key);
    const backend = await createBackend({ threads, onProgress: onLoad, signal });
    const toolkit = await createToolkit({ threads, signal });
    try {
      const store = work.within(key);
      const running = { toolkit, backend, calibration, importance, store, onProgress, signal };
      const compressed = await runRecipe(artifact, recipe, running);
      const { artifact: made, reports } = compressed;
      if (/\.gguf$/i.test(out)) await writeGguf(out, describeGguf(made));
      else await writeHfFolder(out, { ...(await hfOutput(artifact, compressed, layout)), from: artifact.name });
      await work.remove();
      return { out, from: bytesOf(artifact), bytes: bytesOf(made), bitsPerWeight: bitsPerWeight(made), reports };
    } finally {
      await toolkit.close();
      await backend.close();
    }
  } finally {
    await artifact.close();
  }
}

/**
 * Measures how much errors in each column of each matrix count, and gives the bytes of llama.cpp's file of it, in its GGUF
 * layout or the older one.
 * @throws as `compress`
 */
export async function importanceMatrix(
  model: string | undefined,
  options: Omit<CompressOptions, "recipe" | "out" | "layout" | "imatrix">,
  layout: "gguf" | "plain" = "gguf",
): Promise<Uint8Array> {
  const { threads, onProgress, onLoad, signal } = options;
  const artifact = await openReference(model, { offline: options.offline, onProgress: onLoad, signal });
  try {
    const calibration = await calibrationOf(model, artifact, options);
    if (calibration === undefined) throw new RequestError("an importance matrix is measured with a text");
    const backend = await createBackend({ threads, onProgress: onLoad, signal });
    try {
      const progress = (event: PassProgress): void => onProgress?.({ ...event, step: 0, pass: "importance" });
      const importance = await measureImportance(artifact, { backend, progress, signal }, calibration);
      const { sequences } = calibration;
      return await imatrixBytes(importance, layout, { chunks: sequences.length, length: sequences[0]?.length ?? 1 });
    } finally {
      await backend.close();
    }
  } finally {
    await artifact.close();
  }
}

/** Formats and sizes as the recipe would leave them; nothing is computed. Undefined where a pass can't tell before. */
export async function planCompression(
  model: string | undefined,
  options: Pick<CompressOptions, "recipe" | "offline" | "onLoad" | "signal">,
): Promise<CompressPlan | undefined> {
  const recipe = await recipeOf(options.recipe);
  const { offline, onLoad, signal } = options;
  const artifact = await openReference(model, { offline, onProgress: onLoad, signal });
  try {
    const plan = planRecipe(artifact, recipe);
    if (plan === undefined) return undefined;
    const tensors = [...plan.tensors.values()].map(({ name, dtype, shape, byteLength }) => {
      return { name, from: artifact.tensors.get(name)?.dtype ?? "", dtype, shape, byteLength };
    });
    return { from: bytesOf(artifact), bytes: bytesOf(plan), bitsPerWeight: bitsPerWeight(plan), tensors };
  } finally {
    await artifact.close();
  }
}

async function recipeOf(recipe: string | RecipeSource): Promise<Recipe> {
  const { checkRecipe, presetRecipe } = await import("./recipe.ts");
  return typeof recipe === "string" ? presetRecipe(recipe) : checkRecipe(recipe, recipe.name ?? "given");
}

async function calibrationOf(
  model: string | undefined,
  artifact: ModelArtifact,
  { calibrate = [], tokens, threads, offline, signal }: Omit<CompressOptions, "recipe" | "out" | "layout" | "imatrix">,
): Promise<Calibration | undefined> {
  const wanted = tokens === undefined ? {} : { tokens };
  if (calibrate === "self") {
    await using llm = await load(model, { threads, offline, signal, context: SEQUENCE_TOKENS });
    return await calibrateWithModel(llm, wanted);
  }
  if (calibrate.length > 0) return calibrateWith(createTokenizer(artifact.tokenizer), calibrate, wanted);
  if (tokens !== undefined) throw new RequestError("tokens to calibrate with are given, but no text");
  return undefined;
}

function bytesOf({ tensors }: ModelArtifact): number {
  return [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function bitsPerWeight(artifact: ModelArtifact): number {
  const weights = [...artifact.tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  return (8 * bytesOf(artifact)) / weights;
}
