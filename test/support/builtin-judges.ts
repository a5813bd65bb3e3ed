/**
 * How an answer of the built-in model is judged: the rules behind the shares of `npm run eval:builtin`. The training recipe
 * (recipes/brook/evaluate.py) judges by the same rules.
 */

/** What the answer to a held-out question must be. */
export type Check =
  | { readonly type: "self" }
  | { readonly type: "json" }
  | { readonly type: "sum"; readonly answer: number }
  | { readonly type: "list"; readonly n: number };

const MARKER = /^(\d+[.)]|[-*•])\s+(?=\S)/;
const PHRASE = 8;
const IN_A_ROW = 12;
const LONGEST_PERIOD = 40;

/**
 * Whether a text fell into a loop: some eight words in a row stand in it three times or more, or a phrase follows itself
 * at least twice, covering twelve words or more (numbers left out, so that the numbering of a list hides nothing).
 */
export function loops(text: string): boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const seen = new Map<string, number>();
  for (let i = 0; i + PHRASE <= words.length; i++) {
    const phrase = words.slice(i, i + PHRASE).join(" ");
    const count = (seen.get(phrase) ?? 0) + 1;
    if (count >= 3) return true;
    seen.set(phrase, count);
  }
  const letters = text.toLowerCase().match(/\p{L}+/gu) ?? [];
  for (let period = 1; period <= LONGEST_PERIOD; period++) {
    let same = 0;
    for (let i = period; i < letters.length; i++) {
      same = letters[i] === letters[i - period] ? same + 1 : 0;
      if (same >= 2 * period && same + period >= IN_A_ROW) return true;
    }
  }
  return false;
}

/** The items of a list: the numbered or marked lines, or where none is marked every line that isn't empty. */
export function listItems(text: string): string[] {
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  const marked = lines.filter((line) => MARKER.test(line));
  return (marked.length > 0 ? marked : lines).map((line) => line.replace(MARKER, "").toLowerCase());
}

/** Whether the answer is right. JSON may stand in a code fence; of a sum the last number counts. */
export function right(check: Check, text: string): boolean {
  switch (check.type) {
    case "self":
      return text.toLowerCase().includes("brook");
    case "sum":
      return Number(text.replaceAll(",", "").match(/-?\d+/g)?.at(-1)) === check.answer;
    case "json":
      return isJson(text.match(/^\s*```(?:json)?\s*([^]*?)\s*```\s*$/)?.[1] ?? text);
    case "list":
      return listItems(text).length === check.n;
    default:
      return check satisfies never;
  }
}

function isJson(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null;
  } catch {
    return false;
  }
}
