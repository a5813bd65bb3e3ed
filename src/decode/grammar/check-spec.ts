/**
 * Is a grammar's description one at all? It comes from callers, whatever the types say: its kind, the types of its parts
 * and its depth are looked at before anything is compiled. What it asks for is compile.ts's to judge.
 */
import { RequestError } from "../../errors.ts";
import { shown } from "../limits.ts";
import type { GrammarSpec } from "./spec.ts";

const MAX_DEPTH = 100;
const MAX_VALUES = 100_000;
/** Of all texts of a description together; compiling more would take others' time. */
const MAX_CHARACTERS = 2 ** 20;

/** What each kind's own field must be. */
const KINDS: Readonly<Record<string, (value: unknown, where: string, depth: number) => void>> = {
  schema: (value, where) => checkJson(value, where),
  json: (value, where) => must(value === true || value === "object", where, 'true or "object"', value),
  regex: text,
  gbnf: text,
  lark: text,
  choice: texts,
  text,
  special: text,
  until: text,
  without: texts,
  sequence: specs,
  anyOf: specs,
  repeat: checkSpec,
};

/** Throws RequestError that names the part. */
export function checkGrammarSpec(spec: unknown): asserts spec is GrammarSpec {
  checkSpec(spec, "grammar", 0);
  const { length } = JSON.stringify(spec);
  if (length > MAX_CHARACTERS)
    throw new RequestError(`the grammar has ${length} characters as JSON, expected ${MAX_CHARACTERS} at most`);
}

function checkSpec(spec: unknown, where: string, depth: number): void {
  must(depth <= MAX_DEPTH, where, `nested ${MAX_DEPTH} levels at most`, spec);
  must(typeof spec === "object" && spec !== null && !Array.isArray(spec), where, "an object", spec);
  const fields = spec as Readonly<Record<string, unknown>>;
  const kind = Object.keys(KINDS).find((name) => Object.hasOwn(fields, name));
  if (kind === undefined) throw new RequestError(`${where} must have one of ${Object.keys(KINDS).join(", ")}`);
  KINDS[kind]?.(fields[kind], `${where}.${kind}`, depth + 1);
  // What stands beside the kind is options; each is compared with what it may be where it is read.
  for (const [name, value] of Object.entries(fields)) {
    if (name === kind || value === undefined) continue;
    must(["string", "number", "boolean"].includes(typeof value), `${where}.${name}`, "an option", value);
  }
  if (kind === "regex" && fields["flags"] !== undefined) text(fields["flags"], `${where}.flags`);
  for (const name of ["min", "max"] as const) {
    const value = fields[name];
    if (kind === "repeat" && value !== undefined)
      must(Number.isSafeInteger(value) && Number(value) >= 0, `${where}.${name}`, "a whole number", value);
  }
}

/** Values that JSON can write: no cycles, no numbers beyond it. */
function checkJson(value: unknown, where: string): void {
  let values = 0;
  const visit = (part: unknown, depth: number): void => {
    must(++values <= MAX_VALUES, where, `of ${MAX_VALUES} values at most`, value);
    must(depth <= MAX_DEPTH, where, `nested ${MAX_DEPTH} levels at most`, value);
    if (part === null || typeof part === "string" || typeof part === "boolean") return;
    if (typeof part === "number") return must(Number.isFinite(part), where, "of finite numbers", part);
    must(typeof part === "object", where, "plain JSON", part);
    if (Array.isArray(part)) for (const item of part) visit(item, depth + 1);
    else for (const item of Object.values(part as object)) if (item !== undefined) visit(item, depth + 1);
  };
  visit(value, 0);
}

function text(value: unknown, where: string): void {
  must(typeof value === "string", where, "a text", value);
}

function texts(value: unknown, where: string): void {
  must(Array.isArray(value) && value.every((item) => typeof item === "string"), where, "a list of texts", value);
}

function specs(value: unknown, where: string, depth: number): void {
  if (!Array.isArray(value)) throw new RequestError(`${where} must be a list of grammars, not ${shown(value)}`);
  value.forEach((item, i) => checkSpec(item, `${where}[${i}]`, depth));
}

function must(fine: boolean, where: string, expected: string, found: unknown): void {
  if (!fine) throw new RequestError(`${where} must be ${expected}, not ${shown(found)}`);
}
