/** The flags that name adapters, and what of them goes to `load` and to a request. */
import { textFlag } from "./flags.ts";
import type { Values } from "./flags.ts";

export const ADAPTER = {
  title: "Adapter",
  flags: {
    adapter: textFlag(
      "[NAME=]REF",
      'a LoRA adapter of the model: a folder as PEFT saves it, a GGUF file, or "hf:owner/repo"',
    ),
  },
} as const;

/** What `load` and each request get of the flag. */
export function adapterOptions({ adapter }: Values<typeof ADAPTER.flags>): {
  readonly engine: { readonly adapters?: Readonly<Record<string, string>>; readonly maxAdapters?: number };
  readonly request: { readonly adapter?: string };
} {
  if (adapter === undefined) return { engine: {}, request: {} };
  const { name, reference } = namedReference(adapter);
  return { engine: { adapters: { [name]: reference }, maxAdapters: 1 }, request: { adapter: name } };
}

/** "NAME=REF", or a reference that says its name itself. */
export function namedReference(text: string): { readonly name: string; readonly reference: string } {
  const [, name, reference = text] = /^([\w.-]+)=(.+)$/.exec(text) ?? [];
  return { name: name ?? nameOf(reference), reference };
}

/** "models/qwen3-0.6b-q8_0.gguf" → "qwen3-0.6b-q8_0", "hf:owner/repo:Q8_0" → "repo". */
export function nameOf(reference: string): string {
  const last =
    reference
      .replace(/^(hf:[^:]+):.*$/, "$1")
      .split(/[\\/]/)
      .findLast((part) => part !== "") ?? reference;
  return last.replace(/\.gguf$/, "");
}
