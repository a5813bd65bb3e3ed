/**
 * check:compress [MODEL [MIXTURE …]]: are the files that `millrace compress` writes what they say? Each mixture of GGUF formats is made of
 * a model (default: brook) and given to llama.cpp (node-llama-cpp's library, from bench/), which writes it as F32: its values
 * must be those that we read, to the bit. Then a run is killed at random moments, again and again, until it ends: the file
 * must have the bytes of one that was left alone. The properties that define each pass are unit tests (src/compress).
 */
import { Buffer } from "node:buffer";
import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";

import { builtinModelPath } from "../src/artifact/node-builtin.ts";
import { openGguf } from "../src/artifact/node-gguf.ts";
import { tensorValues } from "../src/artifact/tensor-values.ts";
import { MIXTURE_NAMES } from "../src/compress/mixtures.ts";
import { compress } from "../src/index.ts";

const root = resolve(import.meta.dirname, "..");
const [model = builtinModelPath(), ...chosen] = process.argv.slice(2);
const library = join(root, "bench/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libllama.v0.5.0.so");
const folder = await mkdtemp(join(tmpdir(), "millrace-check-compress-"));
let faults = 0;
const say = (name: string, ok: boolean, what: string): void => {
  if (!ok) faults++;
  console.log(`${ok ? "ok  " : "FAIL"} ${name}: ${what}`);
};
try {
  if (existsSync(library)) await checkFormats();
  else console.log(`skipped: formats (${library} is missing: npm ci in bench/)`);
  await checkKilled();
} finally {
  await rm(folder, { recursive: true, force: true });
}
console.log(faults === 0 ? "PASS" : "FAIL");
process.exitCode = faults === 0 ? 0 : 1;

async function checkFormats(): Promise<void> {
  const program = join(folder, "llama-quantize");
  execFileSync("g++", ["-std=c++20", "-O1", join(root, "bench/compress/llama-quantize.cpp"), "-o", program, "-ldl"]);
  for (const type of chosen.length > 0 ? MIXTURE_NAMES.filter((name) => chosen.includes(name)) : MIXTURE_NAMES) {
    const [ours, theirs] = [join(folder, "ours.gguf"), join(folder, "theirs.gguf")];
    await compress(model, { recipe: type.toLowerCase(), out: ours });
    try {
      // The mixture 0 is F32.
      execFileSync(program, [library, ours, theirs, "0", "2", "0"], { stdio: "ignore" });
    } catch {
      say(type, false, "llama.cpp refuses the file");
      continue;
    }
    const [a, b] = [await openGguf(ours), await openGguf(theirs)];
    let [tensors, values, different] = [0, 0, 0];
    for (const [name, tensor] of a.tensors) {
      const other = b.tensors.get(name);
      const [own, read] = [await tensorValues(tensor), other && (await tensorValues(other))];
      tensors++;
      values += own.length;
      // Zeros may have either sign.
      for (const [i, value] of own.entries()) if (value !== read?.[i]) different++;
    }
    await a.close();
    await b.close();
    say(type, different === 0 && tensors > 0, `${tensors} tensors, ${different} of ${values} values differ`);
  }
}

async function checkKilled(): Promise<void> {
  const [whole, out] = [join(folder, "whole.gguf"), join(folder, "killed.gguf")];
  await compress(model, { recipe: "q4_k_m", out: whole });
  const main = join(root, "src/cli/main.ts");
  const args = ["--no-warnings", main, "compress", model, "--recipe", "q4_k_m", "-o", out];
  let kills = 0;
  for (;;) {
    const child = spawn(process.execPath, args, { stdio: "ignore" });
    const timer = setTimeout(() => child.kill("SIGKILL"), 600 + Math.random() * 1200 * (1 + kills / 4));
    const code = await new Promise<number | null>((end) => child.once("exit", end));
    clearTimeout(timer);
    if (code === 0) break;
    kills++;
  }
  const same = Buffer.compare(await readFile(whole), await readFile(out)) === 0;
  say("killed", same, `${kills} times, then ${same ? "the same bytes" : "other bytes"}`);
}
