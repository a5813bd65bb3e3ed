/**
 * What tokenizer.json may ask of the components that rewrite text (normalizer, pre-tokenizer, decoder, post-processor):
 * no nesting that could exhaust the stack, and no replacements that together blow a text up ("a" by "aa", sixty
 * times). Looked at once, before the components are built; real files are far below either limit.
 */
import type { MetaValue } from "../artifact/artifact.ts";
import { ArtifactError } from "../errors.ts";
import { isList, isObject } from "./json-fields.ts";

const MAX_DEPTH = 32;
const MAX_GROWTH = 64;

/** Throws ArtifactError where `component` nests too deeply, or makes a text more than 64 times as long. */
export function checkComponent(component: MetaValue | undefined, where: string): void {
  let growth = 1;
  const visit = (value: MetaValue | undefined, depth: number): void => {
    if (depth > MAX_DEPTH) throw new ArtifactError(`${where} is nested more than ${MAX_DEPTH} levels deep`);
    if (isList(value)) for (const item of value) visit(item, depth + 1);
    if (!isObject(value)) return;
    const { type, content, replacement, pattern, prepend } = value;
    const into = type === "Replace" ? content : replacement;
    const from = isObject(pattern) ? pattern["String"] : undefined;
    if (typeof into === "string")
      growth *= Math.max(1, into.length / (typeof from === "string" ? from.length || 1 : 1));
    // Put before every piece between added tokens, which may be a single character.
    if (typeof prepend === "string") growth *= 1 + prepend.length;
    if (growth > MAX_GROWTH) throw new ArtifactError(`${where} makes a text more than ${MAX_GROWTH} times as long`);
    for (const key of Object.keys(value)) visit(value[key], depth + 1);
  };
  visit(component, 0);
}
