/** `millrace compress`: a model made smaller by a recipe, and written; or what there is to choose from. */
import { writeFile } from "node:fs/promises";

import { readSmallFile } from "../../artifact/node-file.ts";
import {
  compress as compressModel,
  type CompressOptions,
  type CompressProgress,
  importanceMatrix,
  planCompression,
} from "../../compress/api.ts";
import { LAYOUTS } from "../../compress/packed.ts";
import type { RecipeSource } from "../../compress/presets.ts";
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT, MODEL } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { choiceFlag, listFlag, switchFlag, textFlag, wholeFlag } from "../flags.ts";
import { formatBytes, formatSeconds } from "../progress.ts";
import { withLoadProgress } from "../session.ts";
import { decodeUtf8, type Terminal } from "../terminal.ts";

/** Bytes of a recipe, and of a text to calibrate with. */
const MAX_RECIPE = 2 ** 20;
const MAX_TEXT = 256 * 2 ** 20;

const { model, offline, threads } = MODEL.flags;
const COMPRESS = {
  title: "Compress",
  flags: {
    recipe: textFlag("FILE|NAME", "what to do: a JSON or YAML file, or a name that --list prints"),
    out: textFlag("OUT", "the file to write, OUT.gguf, or a folder for safetensors", "o"),
    layout: choiceFlag(LAYOUTS, "how the folder holds the integers that the recipe made; default: as floats"),
    calibrate: listFlag(
      "FILE|self",
      "a text whose activations tell what matters, may be repeated; self: text that the model writes",
    ),
    imatrix: textFlag("FILE", "an importance matrix of llama.cpp's, instead of measuring one"),
    "write-imatrix": textFlag("FILE", "measure one and write it (.gguf, else the older layout), and do nothing else"),
    tokens: wholeFlag(2, "tokens to calibrate with; default 16384", 2 ** 24),
    list: switchFlag("print passes and recipes, and do nothing"),
    "dry-run": switchFlag("print formats and sizes, and write nothing"),
    json: JSON_OUTPUT,
  },
};

export const compress = defineCommand({
  name: "compress",
  summary: "make a model smaller by a recipe",
  words: "[MODEL]",
  about:
    "Applies a recipe's passes to a model and writes the result, tensor by tensor, whatever the model's size. What was " +
    "computed is kept beside OUT until the file is whole: after an interruption the same command goes on where it was, to " +
    "the same bytes. The file's metadata tells how it was made (millrace inspect).",
  groups: [COMPRESS, { title: "Model", flags: { model, offline, threads } }],
  flags: { ...COMPRESS.flags, model, offline, threads },
  examples: [
    "millrace compress model.gguf --recipe q4_k_m -o small.gguf",
    "millrace compress model.gguf --recipe q4_k_m --calibrate wiki.txt -o small.gguf",
    "millrace compress model.gguf --recipe recipe.yaml --dry-run",
    "millrace compress --list",
  ],
  async run({ values, words, terminal }) {
    if (values.list) return list(terminal, values.json);
    const [word, ...more] = words;
    if (more.length > 0 || (word !== undefined && values.model !== undefined))
      throw new UsageError("one model is expected: a word, or --model");
    const model = word ?? values.model;
    const calibrate = await readTexts(values.calibrate);
    const { out, layout, tokens, threads, "write-imatrix": matrix } = values;
    if (matrix !== undefined) {
      const layout = /\.gguf$/i.test(matrix) ? "gguf" : "plain";
      const bytes = await withLoadProgress(terminal, (onLoad, line) => {
        const onProgress = ({ done, total, unit }: CompressProgress): void => line.update("layers", done, total, unit);
        const options = { calibrate, tokens, threads, onLoad, onProgress, signal: terminal.signal };
        return importanceMatrix(model, options, layout);
      });
      return writeFile(matrix, bytes);
    }
    if (values.recipe === undefined) throw new UsageError("--recipe FILE|NAME is needed; --list prints names");
    const common = {
      recipe: await readRecipe(values.recipe),
      ...(values.offline && { offline: true }),
      signal: terminal.signal,
    };
    if (values["dry-run"]) return dryRun(model, common, values.json, terminal);
    if (out === undefined) throw new UsageError("--out OUT is needed");
    const imatrix =
      values.imatrix === undefined
        ? undefined
        : { name: values.imatrix, bytes: await readSmallFile(values.imatrix, MAX_TEXT) };
    const started = performance.now();
    const result = await withLoadProgress(terminal, (onLoad, line) =>
      compressModel(model, {
        ...common,
        out,
        layout,
        calibrate,
        imatrix,
        tokens,
        threads,
        onLoad,
        onProgress: ({ pass, done, total, unit }) => line.update(pass, done, total, unit),
      }),
    );
    const seconds = (performance.now() - started) / 1000;
    if (values.json) return terminal.writeJson({ ...result, seconds });
    for (const { pass, report } of result.reports) terminal.write(`${pass.padEnd(12)} ${reportText(report)}\n`);
    const { from, bytes } = result;
    terminal.note(
      `${out}: ${formatBytes(bytes)} of ${formatBytes(from)}, ${bits(result.bitsPerWeight)}, in ${formatSeconds(seconds)}`,
    );
  },
});

async function readRecipe(reference: string): Promise<string | RecipeSource> {
  if (!/[./\\]/.test(reference)) return reference;
  const { parseRecipe } = await import("../../compress/recipe.ts");
  return parseRecipe(decodeUtf8(await readSmallFile(reference, MAX_RECIPE), reference), reference).source;
}

async function readTexts(files: readonly string[]): Promise<CompressOptions["calibrate"]> {
  if (files.length === 1 && files[0] === "self") return "self";
  const texts: { name: string; text: string }[] = [];
  for (const name of files) texts.push({ name, text: decodeUtf8(await readSmallFile(name, MAX_TEXT), name) });
  return texts;
}

async function dryRun(
  model: string | undefined,
  options: Omit<Parameters<typeof planCompression>[1], "onLoad">,
  json: boolean,
  terminal: Terminal,
): Promise<void> {
  const plan = await withLoadProgress(terminal, (onLoad) => planCompression(model, { ...options, onLoad }));
  if (plan === undefined) throw new Error("what this recipe leaves is known only when it has run");
  if (json) return terminal.writeJson(plan);
  for (const { name, from, dtype, shape, byteLength } of plan.tensors) {
    const place = `${name.padEnd(32)} ${from.padEnd(6)} → ${dtype.padEnd(6)}`;
    terminal.write(`${place} [${shape.join(", ")}], ${formatBytes(byteLength)}\n`);
  }
  terminal.write(`${formatBytes(plan.from)} → ${formatBytes(plan.bytes)}, ${bits(plan.bitsPerWeight)}\n`);
}

function bits(count: number): string {
  return `${count.toFixed(2)} bits a weight`;
}

async function list(terminal: Terminal, json: boolean): Promise<void> {
  const [{ PASSES }, { PRESETS }] = await Promise.all([
    import("../../compress/passes.ts"),
    import("../../compress/presets.ts"),
  ]);
  const passes = [...PASSES.values()].map(({ name, summary, taxonomy, needsCalibration }) => {
    return { name, summary, ...taxonomy, needsCalibration };
  });
  const recipes = [...PRESETS].map(([name, { about, passes: steps }]) => {
    return { name, about, passes: steps.map(({ pass }) => pass) };
  });
  if (json) return terminal.writeJson({ passes, recipes });
  const rows = [
    ["pass", "tensors", "format", "parameters", "values", "calibration"],
    ...passes.map((pass) => [
      pass.name,
      pass.tensors.join(", "),
      pass.format,
      pass.parameters,
      pass.update,
      pass.needsCalibration ? "needed" : "",
    ]),
  ];
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => (row[i] ?? "").length)));
  for (const row of rows)
    terminal.write(
      `${row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd()}\n`,
    );
  terminal.write("\n");
  for (const { name, summary } of passes) terminal.write(`${name}: ${summary}\n`);
  terminal.write("\nrecipes\n");
  for (const { name, about, passes: steps } of recipes)
    terminal.write(`  ${name.padEnd(16)} ${about ?? ""} (${steps.join(", ")})\n`);
}

function reportText(report: Readonly<Record<string, unknown>>): string {
  return Object.entries(report)
    .filter(([, value]) => typeof value !== "object")
    .map(
      ([key, value]) =>
        `${key} ${typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(4) : String(value)}`,
    )
    .join(", ");
}
