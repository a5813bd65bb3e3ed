/**
 * The prompts of `npm run bench -- speculation`: questions of ../shared/data, and an editing set made of the longer ones,
 * where the answer is the text of the prompt with changes.
 */
import { readFileSync } from "node:fs";
import path from "node:path";

const DATA = path.resolve(import.meta.dirname, "../../shared/data/prompts");

export interface Prompt {
  /** A question, or what an answer goes on with as it is. */
  readonly chat?: string;
  readonly raw?: string;
}

export function promptSet(name: string, most: number): readonly Prompt[] {
  if (name === "editing") return spread(editing(), most);
  return spread(
    questions(name).map((chat) => ({ chat })),
    most,
  );
}

function questions(name: string): string[] {
  const lines = readFileSync(path.join(DATA, `${name}.jsonl`), "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => (JSON.parse(line) as { turns: string[] }).turns[0] ?? "");
}

/** The text is there once; its second version begins with another word, and goes on as far as the model copies it. */
function editing(): Prompt[] {
  const texts = questions("spec-bench-dev").map((text) => text.replace(/\s+/g, " ").trim());
  return texts
    .filter((text) => text.length > 300 && text.length < 900)
    .map((text) => {
      const words = text.split(" ");
      const start = ["Please:", ...words.slice(1, 12)].join(" ");
      return { raw: `First version:\n${text}\n\nSecond version, one word changed:\n${start}` };
    });
}

/** Every so many-th, so that all categories are among them. */
function spread<T>(all: readonly T[], most: number): readonly T[] {
  const step = Math.max(1, all.length / most);
  return Array.from({ length: Math.min(most, all.length) }, (_, i) => all[Math.floor(i * step)]).filter(
    (one) => one !== undefined,
  );
}
