/** What `millrace inspect` shows of an adapter: method, ranks, the layers that it changes, and its size. */
import type { AdapterArtifact } from "../artifact/adapter-artifact.ts";
import { formatBytes } from "./progress.ts";

export interface AdapterFacts {
  readonly name: string;
  readonly format: string;
  readonly method: "LoRA" | "DoRA";
  readonly ranks: readonly number[];
  readonly layers: number;
  /** How many of the layers have a name that ends so ("q_proj"). */
  readonly modules: Readonly<Record<string, number>>;
  readonly parameters: number;
  readonly bytes: number;
  readonly base: string | undefined;
}

export function adapterFacts({ name, format, layers, metadata }: AdapterArtifact): AdapterFacts {
  const all = [...layers.values()];
  const tensors = all.flatMap(({ a, b, magnitude }) => [a, b, ...(magnitude === undefined ? [] : [magnitude])]);
  const modules: Record<string, number> = {};
  for (const layer of layers.keys()) {
    const module =
      layer
        .replace(/\.weight$/, "")
        .split(".")
        .at(-1) ?? layer;
    modules[module] = (modules[module] ?? 0) + 1;
  }
  const base = metadata[format === "peft" ? "base_model_name_or_path" : "general.architecture"];
  return {
    name,
    format,
    method: all.some(({ magnitude }) => magnitude !== undefined) ? "DoRA" : "LoRA",
    ranks: [...new Set(all.map(({ a }) => a.shape[0] ?? 0))].toSorted((x, y) => x - y),
    layers: layers.size,
    modules,
    parameters: tensors.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0),
    bytes: tensors.reduce((sum, { byteLength }) => sum + byteLength, 0),
    base: typeof base === "string" ? base : undefined,
  };
}

export function adapterText(facts: AdapterFacts): string {
  const modules = Object.entries(facts.modules).map(([module, count]) => `${module} ${count}`);
  const rows = [
    ["adapter", `${facts.method} (${facts.format})`],
    ["made for", facts.base ?? "not said"],
    ["rank", facts.ranks.join(", ")],
    ["layers", `${facts.layers}: ${modules.join(", ")}`],
    ["parameters", facts.parameters.toLocaleString("en")],
    ["weights", formatBytes(facts.bytes)],
  ] as const;
  return [facts.name, ...rows.map(([name, value]) => `${name.padEnd(16)}${value}`), ""].join("\n");
}
