/**
 * Flags: what one is, how a command line becomes values, and what is said about one that is wrong. `node:util` splits
 * the words, zod checks the values; commands see typed values only.
 */
import { parseArgs } from "node:util";
import { z } from "zod";

import { LIMITS } from "../decode/limits.ts";
import { UsageError } from "./exit.ts";
import { nearest } from "../nearest.ts";

export interface Flag<T> {
  /** A switch stands alone; a value or a list (it may be repeated) takes a word. */
  readonly kind: "switch" | "value" | "list";
  readonly short?: string;
  /** For the help: "N", "REF", … */
  readonly placeholder?: string;
  readonly help: string;
  /** What a value must be, for the message about a wrong one. */
  readonly expected: string;
  readonly schema: z.ZodType<T>;
}

export type Flags = Readonly<Record<string, Flag<unknown>>>;
export type Values<F extends Flags> = { readonly [K in keyof F]: F[K] extends Flag<infer T> ? T : never };

const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

export function switchFlag(help: string): Flag<boolean> {
  return { kind: "switch", help, expected: "", schema: z.boolean().default(false) };
}

export function textFlag(placeholder: string, help: string, short?: string): Flag<string | undefined> {
  const schema = z.string().optional();
  return { kind: "value", placeholder, help, expected: "a text", schema, ...(short === undefined ? {} : { short }) };
}

export function listFlag(placeholder: string, help: string): Flag<readonly string[]> {
  return { kind: "list", placeholder, help, expected: "a text", schema: z.array(z.string()).default([]) };
}

export function choiceFlag<const T extends string>(choices: readonly T[], help: string): Flag<T | undefined> {
  const expected = `one of ${choices.join(", ")}`;
  return { kind: "value", placeholder: choices.join("|"), help, expected, schema: z.enum(choices).optional() };
}

export function wholeFlag(low: number, help: string, high: number = Number.MAX_SAFE_INTEGER): Flag<number | undefined> {
  const range = high === Number.MAX_SAFE_INTEGER ? `from ${low} on` : `from ${low} to ${high}`;
  const schema = z.string().regex(NUMBER).transform(Number).pipe(z.number().int().min(low).max(high)).optional();
  return { kind: "value", placeholder: "N", help, expected: `a whole number ${range}`, schema };
}

export function numberFlag(low: number, high: number, help: string): Flag<number | undefined> {
  const schema = z.string().regex(NUMBER).transform(Number).pipe(z.number().min(low).max(high)).optional();
  return { kind: "value", placeholder: "X", help, expected: `a number from ${low} to ${high}`, schema };
}

/** A number in the range of the API's parameter of that name. */
export function limitFlag(name: keyof typeof LIMITS, help: string): Flag<number | undefined> {
  const { whole, low, high } = LIMITS[name];
  return whole ? wholeFlag(low, help, high) : numberFlag(low, high, help);
}

export interface Parsed<F extends Flags> {
  readonly values: Values<F>;
  readonly words: readonly string[];
  readonly help: boolean;
}

/** Splits and checks a command's arguments. `--help` wins over everything that is wrong. */
export function parseFlags<F extends Flags>(args: readonly string[], flags: F): Parsed<F> {
  const specs = Object.entries(flags);
  const options: Record<string, { type: "string" | "boolean"; short?: string; multiple: boolean }> = {
    help: { type: "boolean", short: "h", multiple: true },
  };
  for (const [name, flag] of specs) {
    const type = flag.kind === "switch" ? "boolean" : "string";
    options[name] = { type, multiple: true, ...(flag.short === undefined ? {} : { short: flag.short }) };
  }
  const { tokens, positionals } = parseArgs({
    args: [...args],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = new Map<string, (string | true)[]>();
  const complaints: string[] = [];
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    const { name, rawName, value } = token;
    const known = Object.hasOwn(options, name) ? options[name] : undefined;
    if (known === undefined) complaints.push(unknownFlag(rawName, Object.keys(options)));
    else if (known.type === "boolean" && value !== undefined) complaints.push(`${rawName} takes no value`);
    else if (known.type === "string" && isMissing(value, token.inlineValue === true, options)) {
      complaints.push(`${rawName} needs a value`);
    } else given.set(name, [...(given.get(name) ?? []), value ?? true]);
  }
  if (given.has("help")) return { values: {} as Values<F>, words: positionals, help: true };
  const [complaint] = complaints;
  if (complaint !== undefined) throw new UsageError(complaint);
  const values = Object.fromEntries(specs.map(([name, flag]) => [name, checkFlag(name, flag, given.get(name))]));
  return { values: values as Values<F>, words: positionals, help: false };
}

/** A value that is another flag was forgotten ("--system --json"); text that begins with a dash is given as "--x=-text". */
function isMissing(value: string | undefined, inline: boolean, options: Readonly<Record<string, unknown>>): boolean {
  if (value === undefined) return true;
  if (inline || !value.startsWith("--")) return false;
  return Object.hasOwn(options, value.slice(2).split("=", 1)[0] ?? "");
}

function checkFlag(name: string, flag: Flag<unknown>, given: readonly (string | true)[] | undefined): unknown {
  if (given !== undefined && given.length > 1 && flag.kind === "value") {
    throw new UsageError(`--${name} is given ${given.length} times`);
  }
  const raw = given === undefined ? undefined : flag.kind === "list" ? given : given[0];
  const result = flag.schema.safeParse(raw);
  if (result.success) return result.data;
  throw new UsageError(`--${name} is "${String(given?.[0])}"; it must be ${flag.expected}`);
}

function unknownFlag(rawName: string, names: readonly string[]): string {
  const near = rawName.startsWith("--") ? nearest(rawName.slice(2), names) : undefined;
  return `unknown flag ${rawName}${near === undefined ? "" : `; did you mean --${near}?`}`;
}
