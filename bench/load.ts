/**
 * `npm run bench -- load [MODEL] [--rounds=N]`: how long `load()` takes without the packed cache, the first time with it (which
 * packs, and writes beside the first tokens), and later (which maps), all after a load that warmed this process up; until the
 * load's end and until the first token. Then the same model decodes from mapped pages, which are small ones, and from
 * packed memory in turns: medians, and the median of the ratios.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { listPacked } from "../src/backend/cpu/packed-cache.ts";
import { type Llm, load } from "../src/index.ts";

const MODEL = path.join(import.meta.dirname, "../../shared/models/smollm2-135m-instruct-q4_1.gguf");
const TOKENS = 64;

export async function benchLoad(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { rounds: { type: "string", default: "9" } },
    allowPositionals: true,
  });
  const model = positionals[0] ?? MODEL;
  const rounds = Number(values.rounds);
  const before = process.env["MILLRACE_HOME"];
  await time(model, false);
  const ways = { "no cache": false, "first with cache": true, "second with cache": true };
  const found = new Map<string, (readonly [number, number])[]>();
  for (let round = 0; round < rounds; round++) {
    const home = mkdtempSync(path.join(tmpdir(), "millrace-bench-load-"));
    process.env["MILLRACE_HOME"] = home;
    for (const [name, packedCache] of Object.entries(ways)) {
      const { llm, times } = await time(model, packedCache);
      found.set(name, [...(found.get(name) ?? []), times]);
      await llm.close();
      while (packedCache && (await listPacked()).length === 0) await sleep(50);
    }
    if (round === rounds - 1) await compareDecoding(model, rounds);
    rmSync(home, { recursive: true });
  }
  if (before === undefined) delete process.env["MILLRACE_HOME"];
  else process.env["MILLRACE_HOME"] = before;
  for (const [name, times] of found) {
    const [loaded, first] = [0, 1].map((i) => median(times.map((pair) => pair[i] ?? NaN)).toFixed(0));
    console.log(`${name}: load() takes ${loaded} ms, the first token comes after ${first} ms`);
  }
}

async function time(model: string, packedCache: boolean): Promise<{ llm: Llm; times: readonly [number, number] }> {
  const started = performance.now();
  const llm = await load(model, { packedCache, context: 512 });
  const loaded = performance.now();
  await llm.generate("The sky is", { maxTokens: 1 });
  return { llm, times: [loaded - started, performance.now() - started] };
}

async function compareDecoding(model: string, rounds: number): Promise<void> {
  const packed = (await time(model, false)).llm;
  const mapped = (await time(model, true)).llm;
  const speeds: (readonly [number, number])[] = [];
  for (let round = 0; round < 2 * rounds; round++) speeds.push([await decode(mapped), await decode(packed)]);
  const of = (i: 0 | 1): string => median(speeds.map((pair) => pair[i])).toFixed(0);
  const ratio = median(speeds.map(([a, b]) => a / b)).toFixed(3);
  console.log(`decode: ${of(0)} tokens/s from mapped pages, ${of(1)} from packed memory; ratio ${ratio}`);
  await packed.close();
  await mapped.close();
}

async function decode(llm: Llm): Promise<number> {
  const started = performance.now();
  await llm.generate("The sky is", { maxTokens: TOKENS, minTokens: TOKENS, temperature: 0, speculation: "off" });
  return TOKENS / ((performance.now() - started) / 1000);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
