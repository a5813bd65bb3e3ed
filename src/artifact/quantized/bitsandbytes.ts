/**
 * bitsandbytes' 4 bits (NF4 and FP4, QLoRA: Dettmers et al. 2023) as transformers saves them: codes into a table of 16
 * values, the first of two in the upper half of a byte; for each 64 values their largest magnitude, itself perhaps as codes
 * into a table (double quantisation). The matrix's shape stands in a JSON text beside it.
 */
import { ArtifactError } from "../../errors.ts";
import type { Values } from "./matrix.ts";
import type { Modules } from "./modules.ts";
import { floatsOf, rawBytes } from "./raw-tensors.ts";

interface QuantState {
  readonly blocksize?: unknown;
  readonly shape?: unknown;
  readonly nested_blocksize?: unknown;
  readonly nested_offset?: unknown;
}

export async function bnb4Matrix(modules: Modules, module: string): Promise<Values> {
  const packed = modules.raw(module, "weight", ["U8"]);
  const kind = ["nf4", "fp4"].find((name) => modules.find(module, `weight.quant_state.bitsandbytes__${name}`));
  const state = await readState(modules, module, kind ?? "nf4");
  const table = await floatsOf(modules.get(module, "weight.quant_map"));
  const [rows, columns] = shapeOf(modules, module, state);
  const block = Number(state.blocksize);
  const largest = await magnitudes(modules, module, state);
  const fits = packed.byteLength * 2 === rows * columns && largest.length === Math.ceil((rows * columns) / block);
  if (!fits || table.length !== 16 || columns % 2 !== 0)
    throw new ArtifactError(`${modules.name}: "${module}" [${rows}, ${columns}] doesn't fit its codes and magnitudes`);
  return {
    kind: "values",
    rows,
    columns,
    async decode(first, count) {
      const from = first * columns;
      const bytes = await packed.source.read(packed.offset + from / 2, (count * columns) / 2);
      const out = new Float32Array(count * columns);
      for (let i = 0; i < out.length; i++) {
        const byte = bytes[i >> 1] ?? 0;
        out[i] = (table[(i & 1) === 0 ? byte >> 4 : byte & 15] ?? 0) * (largest[Math.floor((from + i) / block)] ?? 0);
      }
      return out;
    },
  };
}

async function readState(modules: Modules, module: string, kind: string): Promise<QuantState> {
  const part = `weight.quant_state.bitsandbytes__${kind}`;
  const text = new TextDecoder().decode(await rawBytes(modules.raw(module, part, ["U8"])));
  try {
    return Object(JSON.parse(text)) as QuantState;
  } catch (cause) {
    throw new ArtifactError(`${modules.name}: "${module}.${part}" is no JSON`, { cause });
  }
}

function shapeOf(modules: Modules, module: string, { shape, blocksize }: QuantState): readonly [number, number] {
  const list: readonly unknown[] = Array.isArray(shape) ? shape : [];
  const [rows, columns] = list;
  const isSize = (n: unknown): n is number => Number.isSafeInteger(n) && Number(n) > 0;
  if (isSize(rows) && isSize(columns) && list.length === 2 && isSize(blocksize)) return [rows, columns];
  throw new ArtifactError(`${modules.name}: the quant_state of "${module}" has no shape of a matrix, or no blocksize`);
}

async function magnitudes(modules: Modules, module: string, state: QuantState): Promise<Float32Array> {
  const stored = modules.get(module, "weight.absmax");
  if (!("type" in stored)) return floatsOf(stored);
  const codes = await rawBytes(stored);
  const table = await floatsOf(modules.get(module, "weight.nested_quant_map"));
  const nested = await floatsOf(modules.get(module, "weight.nested_absmax"));
  const [block, offset] = [Number(state.nested_blocksize), Math.fround(Number(state.nested_offset))];
  if (!(block > 0) || !Number.isFinite(offset) || nested.length !== Math.ceil(codes.length / block))
    throw new ArtifactError(`${modules.name}: the nested magnitudes of "${module}" don't fit together`);
  return Float32Array.from(
    codes,
    (code, i) => Math.fround((table[code] ?? 0) * (nested[Math.floor(i / block)] ?? 0)) + offset,
  );
}
