/**
 * check:grammar, first part: the JSON Schema Test Suite. For every schema that compiles, each valid instance must be accepted in
 * at least one serialisation, and no invalid one in any; texts that are no JSON, repeat a key, or hold what no double or no
 * string can, must be rejected whatever the instance.
 */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { UnsupportedGrammarError } from "../src/errors.ts";
import { compileGrammar } from "../src/decode/grammar/compile.ts";
import type { Grammar } from "../src/decode/grammar/grammar.ts";
import type { JsonValue, SchemaOptions } from "../src/decode/grammar/spec.ts";

export interface Group {
  readonly description: string;
  readonly schema: JsonValue;
  readonly tests: readonly { readonly description: string; readonly data: JsonValue; readonly valid: boolean }[];
}

export interface SuiteReport {
  readonly draft: string;
  groups: number;
  compiled: number;
  /** Compiling said that nothing satisfies the schema, and the suite has no valid instance. */
  unsatisfiable: number;
  /** Keyword → how many schemas were refused for it. */
  readonly refused: Map<string, number>;
  texts: number;
  readonly over: string[];
  readonly under: string[];
}

const MODES: readonly SchemaOptions[] = [{}, { whitespace: "flexible", keyOrder: "any" }];

/** `folder`: one draft of the suite. `formats.json` and the like of `optional/` are run with `options`. */
export function runSuite(
  folder: string,
  draft: "2020-12" | "7",
  options: SchemaOptions & { only?: string } = {},
): SuiteReport {
  const report: SuiteReport = {
    draft,
    groups: 0,
    compiled: 0,
    unsatisfiable: 0,
    refused: new Map(),
    texts: 0,
    over: [],
    under: [],
  };
  const { only, ...schemaOptions } = options;
  for (const { file, group } of suiteGroups(folder)) {
    if (only !== undefined && file !== only) continue;
    const formats = file === "format.json" ? ({ formats: "annotate" } as const) : {};
    runGroup(report, `${file}: ${group.description}`, group, { draft, ...formats, ...schemaOptions });
  }
  return report;
}

/** The schemas of a folder of the suite with their instances. */
export function suiteGroups(folder: string): readonly { readonly file: string; readonly group: Group }[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .flatMap((file) => {
      const groups = JSON.parse(readFileSync(path.join(folder, file), "utf8")) as readonly Group[];
      return groups.map((group) => ({ file, group }));
    });
}

function runGroup(report: SuiteReport, name: string, group: Group, options: SchemaOptions): void {
  report.groups++;
  const grammars: Grammar[] = [];
  for (const mode of MODES) {
    try {
      grammars.push(compileGrammar({ schema: group.schema, ...options, ...mode }));
    } catch (error) {
      if (!(error instanceof UnsupportedGrammarError)) throw new Error(name, { cause: error });
      if (error.keyword !== "unsatisfiable") {
        report.refused.set(error.keyword, (report.refused.get(error.keyword) ?? 0) + 1);
        return;
      }
    }
  }
  if (grammars.length < MODES.length) {
    report.unsatisfiable++;
    report.compiled++;
    for (const test of group.tests)
      if (test.valid) report.under.push(`${name}: ${test.description}: said to be unsatisfiable`);
    return;
  }
  report.compiled++;
  grammars.forEach((grammar, mode) => {
    for (const test of group.tests) {
      const judge = (text: string, allowed: boolean): boolean => {
        report.texts++;
        const accepted = grammar.accepts(text);
        if (accepted && !allowed) report.over.push(`${name}: ${test.description} (mode ${mode}): ${text}`);
        return accepted;
      };
      const texts = serialisations(test.data);
      const accepted = texts.filter((text) => judge(text, test.valid)).length;
      if (test.valid && accepted === 0) report.under.push(`${name}: ${test.description} (mode ${mode}): ${texts[0]}`);
      for (const text of corruptions(test.data)) judge(text, false);
    }
  });
}

/** The same value, spelled in different ways. */
export function serialisations(value: JsonValue): readonly string[] {
  const texts = new Set([JSON.stringify(value)]);
  for (const order of orders(value)) texts.add(JSON.stringify(order));
  texts.add(JSON.stringify(value, undefined, 2));
  texts.add(` \n\t${JSON.stringify(value, undefined, "\t")}\r\n`);
  texts.add(spell(value, escapeFirst, JSON.stringify));
  texts.add(spell(value, escapeAll, escapeAll));
  texts.add(spell(value, JSON.stringify, escapeFirst));
  return [...texts];
}

/** Texts that are no JSON of any value that the language of JSON Schema knows. */
export function corruptions(value: JsonValue): readonly string[] {
  const text = JSON.stringify(value);
  const broken = [`${text},`, `${text}x`, ...(/\d$/.test(text) ? [`${text}.`] : [])];
  if (text.startsWith("{") && text.length > 2) {
    const [[name, first] = ["", null]] = Object.entries(value as Readonly<Record<string, JsonValue>>);
    for (const key of [JSON.stringify(name), escapeAll(name)])
      broken.push(`${text.slice(0, -1)},${key}:${JSON.stringify(first)}}`);
  }
  const swaps = [
    spell(value, JSON.stringify, (string) => JSON.stringify(string).replace(/"$/, '\\ud800"')),
    spell(value, JSON.stringify, (string) => JSON.stringify(string).replace(/^"/, '"\\udc00\\ud800')),
    spell(value, JSON.stringify, JSON.stringify, () => "1e999"),
    spell(value, JSON.stringify, JSON.stringify, () => "1".repeat(400)),
    spell(value, JSON.stringify, JSON.stringify, (number) => `0${number}`),
  ];
  return [...broken, ...swaps.filter((one) => one !== text)];
}

function spell(
  value: JsonValue,
  key: (text: string) => string,
  string: (text: string) => string,
  number: (value: number) => string = JSON.stringify,
): string {
  if (typeof value === "string") return string(value);
  if (typeof value === "number") return number(value);
  if (Array.isArray(value)) return `[${value.map((one: JsonValue) => spell(one, key, string, number)).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value as Readonly<Record<string, JsonValue>>);
  return `{${members.map(([name, one]) => `${key(name)}:${spell(one, key, string, number)}`).join(",")}}`;
}

function escapeAll(text: string): string {
  const units = Array.from({ length: text.length }, (_, i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, "0")}`);
  return `"${units.join("")}"`;
}

function escapeFirst(text: string): string {
  const rest = JSON.stringify(text.slice(1));
  return text === "" || /^[\ud800-\udbff]/.test(text)
    ? JSON.stringify(text)
    : escapeAll(text[0] ?? "").slice(0, -1) + rest.slice(1);
}

/** The value with its keys in other orders: all orders of up to four keys, some of more. */
function orders(value: JsonValue): readonly JsonValue[] {
  if (Array.isArray(value)) {
    const items = value.map(orders);
    const count = Math.max(0, ...items.map((list) => list.length));
    return Array.from({ length: Math.max(count, 1) }, (_, i) => items.map((list) => list[i % list.length] ?? null));
  }
  if (typeof value !== "object" || value === null) return [value];
  const entries = Object.entries(value as Readonly<Record<string, JsonValue>>).map(
    ([key, one]) => [key, orders(one)] as const,
  );
  const out: JsonValue[] = [];
  for (const order of permutations(entries)) {
    const count = Math.max(1, ...order.map(([, list]) => list.length));
    for (let i = 0; i < count; i++) {
      out.push(Object.fromEntries(order.map(([key, list]) => [key, list[i % list.length] ?? null])));
    }
  }
  return out;
}

function permutations<T>(list: readonly T[]): readonly (readonly T[])[] {
  if (list.length > 4) return [list, list.toReversed()];
  if (list.length < 2) return [list];
  return list.flatMap((first, i) => permutations(list.toSpliced(i, 1)).map((rest) => [first, ...rest]));
}
