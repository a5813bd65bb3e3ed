/**
 * docs/models.md, written by `npm run check:parity -- --docs` from what the code says and what was just measured, so that it
 * can't lie: the families are the head comments of their files, the figures those of the run.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { hasGguf } from "../test/support/as-gguf.ts";
import { parityConfig, recordedBy } from "../test/support/parity.ts";

/** The largest difference of each fixture, by backend. */
export type Figures = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** Of families that transformers doesn't have: written from the paper, in PyTorch. */
const OWN = "own reference";
const ROOT = path.join(import.meta.dirname, "..");

export function writeModelsDoc(figures: Figures, encoders: Figures): void {
  const backends = [...new Set([...figures.values()].flatMap((row) => [...row.keys()]))];
  const rows = [...figures].map(([name, row]) => {
    const config = parityConfig(name);
    const { transformers, computedAs } = recordedBy(name);
    const type = typeof config["model_type"] === "string" ? config["model_type"] : "";
    const theirs =
      computedAs === type ? `transformers ${transformers}` : `transformers ${transformers}, as ${computedAs}`;
    const oracle = computedAs === OWN ? `${OWN} (recipes/fixtures/own.py)` : theirs;
    const numbers = backends.map((backend) => row.get(backend)?.toExponential(1) ?? "");
    return `| ${[name, `\`${type}\``, hasGguf(config) ? "yes" : "", oracle, ...numbers].join(" | ")} |`;
  });
  const titles = ["fixture", "model_type", "GGUF", "logits from", ...backends];
  const text = [
    "# Models",
    "",
    "Written by `npm run check:parity -- --docs`; change the code, not this file.",
    "",
    "## Families",
    "",
    ...families().map((family) => `- ${family}`),
    "",
    "## Parity",
    "",
    "The largest difference of a logit between a tiny model of the family and the same model elsewhere, over a whole prefill,",
    "token by token, and a prefill followed by decodes, with F32 weights and KV. GGUF: llama.cpp has the architecture, and",
    "`npm run check:gguf` compares with it.",
    "",
    `| ${titles.join(" | ")} |`,
    `|${titles.map(() => " --- |").join("")}`,
    ...rows,
    "",
    "## Encoders",
    "",
    "The largest difference of a number of the last layer's rows, of the pooled vector and of the scores, over a text whose tokens",
    "see each other; in a batch with others the bits are the same.",
    "",
    `| fixture | ${backends.join(" | ")} |`,
    `| --- |${backends.map(() => " --- |").join("")}`,
    ...[...encoders].map(
      ([name, row]) =>
        `| \`${name}\` | ${backends.map((backend) => row.get(backend)?.toExponential(1) ?? "").join(" | ")} |`,
    ),
    "",
  ];
  writeFileSync(path.join(ROOT, "docs/models.md"), text.join("\n"));
}

/** The head comments of the files that build a network, each as one line. */
function families(): string[] {
  const folder = path.join(ROOT, "src/models");
  return readdirSync(folder)
    .filter((file) => file.endsWith(".ts"))
    .toSorted()
    .flatMap((file) => {
      const source = readFileSync(path.join(folder, file), "utf8");
      const head = /^\/\*\*([\s\S]*?)\*\//.exec(source)?.[1];
      if (file.endsWith(".test.ts") || head === undefined || !/net\.finish\(|g\.build\(/.test(source)) return [];
      return [head.replaceAll(/\s*\n \* ?/g, " ").trim()];
    });
}
