/**
 * Calls the API as a clumsy caller would: random values of random types for every option and argument. Each call is a
 * RequestError or an answer, and the model then answers as before. `fuzz.ts` makes 20,000 calls, a test some hundreds.
 */
import process from "node:process";
import { createReferenceBackend } from "../src/backend/reference/backend.ts";
import type { Backend } from "../src/backend/contract.ts";
import { assemble } from "../src/engine/assemble.ts";
import type { Llm } from "../src/engine/llm.ts";
import { load } from "../src/engine/load.ts";
import { RequestError, UnsupportedGrammarError } from "../src/errors.ts";
import { Random } from "../test/support/random.ts";
import { tinyModel } from "../test/support/tiny-models.ts";

/** Of one call, on the tiny model. */
const SLOWEST_MS = 2000;
const STUCK_MS = 30_000;
const TEMPLATE =
  "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ m.name }}{{ m.reasoning_content }}{% endfor %}";

const ANSWER_OPTIONS = [
  "temperature",
  "topK",
  "topP",
  "minP",
  "repetitionPenalty",
  "presencePenalty",
  "frequencyPenalty",
  "logitBias",
  "seed",
  "minTokens",
  "maxTokens",
  "stop",
  "stopTokens",
  "n",
  "logprobs",
  "promptLogprobs",
  "signal",
  "parseSpecial",
  "addSpecial",
  "templateVariables",
  "grammar",
  "schema",
  "tools",
  "toolChoice",
  "parallelToolCalls",
  "reasoningBudget",
  "speculation",
  "prediction",
] as const;
const LOAD_OPTIONS = [
  "context",
  "kv",
  "kvBytes",
  "maxSequences",
  "stepTokens",
  "backend",
  "threads",
  "offline",
  "speculation",
];

export interface OptionsReport {
  calls: number;
  answered: number;
  refused: number;
  slowestMs: number;
  readonly faults: string[];
}

export async function fuzzOptions(
  calls: number,
  options: { readonly seed: number; readonly timed?: boolean; readonly onProgress?: (done: number) => void },
): Promise<OptionsReport> {
  const report: OptionsReport = { calls: 0, answered: 0, refused: 0, slowestMs: 0, faults: [] };
  const backend = createReferenceBackend();
  const llm = await tinyLlm(backend);
  try {
    const before = await probe(llm);
    for (let i = 0; i < calls; i++) {
      const random = new Random(options.seed + i);
      const { name, run } = randomCall(llm, random);
      const where = `seed ${options.seed + i}, ${name}`;
      const started = process.cpuUsage();
      try {
        await inTime(run());
        report.answered++;
      } catch (error) {
        if (error instanceof RequestError || error instanceof UnsupportedGrammarError) report.refused++;
        else report.faults.push(`${where}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
      }
      const { user, system } = process.cpuUsage(started);
      const ms = (user + system) / 1000;
      report.slowestMs = Math.max(report.slowestMs, ms);
      if (options.timed !== false && ms > SLOWEST_MS) report.faults.push(`${where}: ${ms.toFixed(0)} ms`);
      report.calls++;
      options.onProgress?.(report.calls);
    }
    if ((await probe(llm)) !== before) report.faults.push("the model answers otherwise than before the calls");
    const { running, waiting } = llm.stats();
    if (running + waiting > 0) report.faults.push(`${running} requests run and ${waiting} wait that nobody owns`);
  } finally {
    await llm.close();
  }
  return report;
}

async function tinyLlm(backend: Backend): Promise<Llm> {
  const artifact = tinyModel("llama", "F32", 1, {
    layers: 1,
    width: 64,
    heads: 2,
    kvHeads: 1,
    hidden: 64,
    context: 64,
  });
  return assemble({ ...artifact, chatTemplate: TEMPLATE }, backend, { context: 64, maxSequences: 4 });
}

async function probe(llm: Llm): Promise<string> {
  return (await llm.generate("abc", { temperature: 0, maxTokens: 8 })).tokens.join(" ");
}

async function inTime(work: PromiseLike<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const stuck = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("it never ends")), STUCK_MS);
  });
  try {
    await Promise.race([work, stuck]);
  } finally {
    clearTimeout(timer);
  }
}

function randomCall(llm: Llm, random: Random): { readonly name: string; readonly run: () => PromiseLike<unknown> } {
  const odd = (): unknown => oddValue(random, 0);
  /** Mostly of the right kind, so that the options are reached. */
  const or = <T>(right: T): T => (random.below(4) === 0 ? (odd() as T) : right);
  const given = random.below(20) === 0 ? odd() : randomOptions(random, ANSWER_OPTIONS);
  const text = or("some text");
  const ids = or([97, 98, 99]);
  const message = {
    role: or("user"),
    content: or("Hi"),
    name: odd(),
    reasoning: odd(),
    ...(random.below(3) === 0 && {
      role: or("assistant"),
      toolCalls: or([or({ id: or("a"), name: or("f"), arguments: odd() })]),
    }),
    ...(random.below(5) === 0 && { role: "tool", toolCallId: odd() }),
  };
  const tools = or({ f: or({ parameters: or({ type: "object" }), run: odd(), description: odd() }) });
  // What stands in a type's place is no value of it: the compiler must not see.
  const call = llm as unknown as Record<string, (...args: unknown[]) => unknown>;
  const calls: Readonly<Record<string, () => unknown>> = {
    generate: () => call["generate"]?.(or(text), given),
    "generate ids": () => call["generate"]?.(ids, given),
    chat: () => call["chat"]?.(or([or(message)]), given),
    "chat with tools": () => call["chat"]?.([message], { maxTokens: 4, tools, toolChoice: or("auto") }),
    agent: () => call["agent"]?.({ messages: or([message]), tools, maxSteps: or(2), maxTokens: 4 }),
    tokenize: () => call["tokenize"]?.(text, random.below(3) === 0 ? odd() : { addSpecial: true }),
    detokenize: () => call["detokenize"]?.(ids, or({})),
    logits: () => call["logits"]?.(ids, or({})),
    perplexity: () =>
      call["perplexity"]?.(or(text), randomOptions(random, ["window", "limit", "signal", "onProgress"])),
    renderChat: () => call["renderChat"]?.(or([or(message)]), or({})),
    load: () => load("/no/such/model.gguf", { [random.pick(["context", ...LOAD_OPTIONS])]: refusedBy(random) }),
  };
  const names = Object.keys(calls);
  const name = names[random.below(names.length)] ?? "generate";
  return { name, run: async () => calls[name]?.() };
}

/** No option of load() may be any of these. */
function refusedBy(random: Random): never {
  return random.pick<unknown>([{}, [], "", "bogus", Number.NaN, -1, null, () => 1, 0.5]) as never;
}

function randomOptions(random: Random, names: readonly string[]): Record<string, unknown> {
  const options: Record<string, unknown> = { maxTokens: 4 };
  for (let i = random.below(4); i >= 0; i--) options[names[random.below(names.length)] ?? ""] = oddValue(random, 0);
  return options;
}

function oddValue(random: Random, depth: number): unknown {
  const again = (): unknown => oddValue(random, depth + 1);
  const kinds: readonly (() => unknown)[] = [
    () => undefined,
    () => null,
    () => random.below(2) === 0,
    () => random.below(5),
    () => random.pick([-1, 0.5, 1.5, 100, 2 ** 31, 2 ** 53, 1e300, -0, Infinity, -Infinity, Number.NaN]),
    () => random.pick(["", "a", "5", "abc", "\ud800", "<|im_end|>", "constructor", "__proto__"]),
    () => BigInt(random.below(100)),
    () => Symbol("odd"),
    () => () => again(),
    () => new Date(0),
    () => new Float32Array(3),
    () => AbortSignal.abort(new RequestError("aborted before")),
    () => Object.create(null) as unknown,
    () => ({ length: 2 ** 40 }),
    () => new Proxy({}, { getPrototypeOf: () => null }),
    () => (depth > 2 ? [] : Array.from({ length: random.below(4) }, again)),
    () =>
      depth > 2 ? {} : Object.fromEntries(Array.from({ length: random.below(3) }, (_, i) => [String(i), again()])),
    () => (depth > 2 ? new Map() : new Map([[again(), again()]])),
  ];
  return kinds[random.below(kinds.length)]?.();
}
