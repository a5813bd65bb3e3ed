/** Requests of recorded traces (../shared/data/traces), shortened to what a small model's context holds. */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { Random } from "../../test/support/random.ts";

export interface Arrival {
  /** Seconds after the first one. */
  readonly at: number;
  readonly prompt: readonly number[];
  /** Tokens that its answer will have. */
  readonly answer: number;
  readonly tenant: string;
}

export const TRACES = ["azure", "mooncake"] as const;
export type TraceName = (typeof TRACES)[number];

const FOLDER = path.join(import.meta.dirname, "../../../shared/data/traces");
const TENANTS = 4;

export function readTrace(name: TraceName, count: number, context: number): readonly Arrival[] {
  const file = path.join(FOLDER, name === "azure" ? "azure-llm-2023-conv.csv" : "mooncake-conversation.jsonl");
  if (!existsSync(file)) throw new Error(`there is no trace ${file}`);
  const lines = readFileSync(file, "utf8").trim().split("\n");
  return name === "azure" ? azure(lines.slice(1, count + 1), context) : mooncake(lines.slice(0, count), context);
}

/** Lengths and times alone: the prompts' tokens are drawn. */
function azure(lines: readonly string[], context: number): readonly Arrival[] {
  const random = new Random(1);
  const rows = lines.map((line) => line.split(","));
  const times = rows.map(([time = ""]) => Date.parse(`${time.replace(" ", "T").slice(0, 23)}Z`) / 1000);
  return rows.map(([, prompt, answer], i) => ({
    at: (times[i] ?? 0) - (times[0] ?? 0),
    ...fitted(
      Array.from({ length: Number(prompt) }, () => 1 + random.below(30_000)),
      Number(answer),
      context,
    ),
    tenant: `${random.below(TENANTS)}`,
  }));
}

/** Its hashes name blocks of 512 tokens; here a block has 32, so that prompts are a sixteenth as long, with the same beginnings. */
function mooncake(lines: readonly string[], context: number): readonly Arrival[] {
  const random = new Random(1);
  return lines.map((line) => {
    const row = JSON.parse(line) as {
      timestamp: number;
      input_length: number;
      output_length: number;
      hash_ids: number[];
    };
    const tokens = row.hash_ids.flatMap((id) => {
      const block = new Random(id + 1);
      return Array.from({ length: 32 }, () => 1 + block.below(30_000));
    });
    const prompt = tokens.slice(0, Math.max(1, Math.round(row.input_length / 16)));
    return {
      at: row.timestamp / 1000,
      ...fitted(prompt, row.output_length, context),
      tenant: `${random.below(TENANTS)}`,
    };
  });
}

function fitted(
  prompt: readonly number[],
  answer: number,
  context: number,
): { prompt: readonly number[]; answer: number } {
  const kept = prompt.slice(0, Math.floor((3 * context) / 4));
  return { prompt: kept, answer: Math.max(1, Math.min(answer, context - kept.length)) };
}
