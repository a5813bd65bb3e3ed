/**
 * What a machine allows a step of many rows, as design.md counts: for products with weights the larger of their bytes over
 * the probed bandwidth and their multiply-accumulates over the probed peak; then the bytes of K and V. The probes and the
 * model's numbers are `millrace bench`'s.
 */
import { execFileSync } from "node:child_process";
import path from "node:path";

export interface Machine {
  readonly threads: number;
  readonly bytesPerSecond: number;
  readonly macsPerSecond: { readonly bits4: number; readonly bits8: number };
  readonly load: {
    readonly weightBytes: number;
    readonly positionBytes: number;
    readonly macs?: number;
    readonly isByte: boolean;
  };
}

export function measureMachine(model: string, threads: number | undefined): Machine {
  const main = path.join(import.meta.dirname, "../../src/cli/main.ts");
  const args = ["bench", "--model", model, "--rounds", "1", "--context", "256", "--json"];
  const all = [...args, ...(threads === undefined ? [] : ["--threads", String(threads)])];
  const text = execFileSync(process.execPath, ["--no-warnings", main, ...all], { stdio: ["ignore", "pipe", "ignore"] });
  return JSON.parse(text.toString()) as Machine;
}

/** Tokens per second of steps of `rows` answers, each with `positions` positions. */
export function stepLimit({ bytesPerSecond, macsPerSecond, load }: Machine, rows: number, positions: number): number {
  const peak = load.isByte ? macsPerSecond.bits8 : macsPerSecond.bits4;
  const products = load.macs === undefined || peak === 0 ? 0 : (rows * load.macs) / peak;
  const weights = Math.max(load.weightBytes / bytesPerSecond, products);
  return rows / (weights + (rows * positions * load.positionBytes) / bytesPerSecond);
}
