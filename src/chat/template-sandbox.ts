/**
 * Runs a parsed Jinja template with a bound on time, memory and output. A template comes with a model file, from
 * anywhere; the interpreter of @huggingface/jinja gives it no way to JavaScript's objects, but none to stop it either.
 * Every step passes through `Interpreter.evaluate`, which is wrapped here: each costs something, more where it handles
 * a large value, and no value may outgrow the limit. The few operations that could make a huge value out of small ones
 * within one step (range, replace, indent, join, tojson) are checked before they run.
 */
import { Environment, Interpreter } from "@huggingface/jinja";
import { UnsupportedError } from "../errors.ts";

/** The parts of the interpreter's types that are used here (the package's own don't resolve under nodenext). */
interface Value {
  readonly type: string;
  value: unknown;
  readonly builtins: ReadonlyMap<string, Value>;
}
interface Scope {
  set(name: string, value: unknown): Value;
}
interface Evaluator {
  evaluate(node: unknown, scope: Scope): Value;
  run(program: unknown): Value;
}
type Call = (args: readonly Value[], scope: Scope) => Value;
/** A node of the syntax tree, seen as data. */
type Fields = Record<string, unknown>;

export interface Limits {
  /** About a microsecond each at worst. */
  readonly steps: number;
  /** Characters of a text; a list's items cost their own and ITEM each. */
  readonly size: number;
}

const ITEM = 16;
const MAX_RANGE = 10_000;
const MAX_DEPTH = 64;
const MAX_INDENT = 16;
const MAX_SEPARATOR = 64;
/** Filters whose arguments multiply: their texts and numbers must be small. */
const SMALL_ARGUMENTS: ReadonlySet<unknown> = new Set(["indent", "join", "tojson"]);
/** No template can write these names. */
const REPLACE = "$replace";
const SMALL = "$small";

/** Marks the places that must be checked; changes the tree, once, before it is run. */
export function prepare(program: unknown): void {
  visit(program, (node) => {
    const filter = node["filter"];
    if (isNode(filter) && filter["type"] === "CallExpression" && isNode(filter["callee"])) {
      const name = filter["callee"]["value"];
      const args = listOf(filter["args"]);
      if (name === "replace") {
        if (node["type"] !== "FilterExpression")
          throw new UnsupportedError("the chat template has {% filter replace(…) %}, which Millrace doesn't support");
        callInstead(node, REPLACE, [node["operand"], ...args]);
      } else if (SMALL_ARGUMENTS.has(name)) {
        filter["args"] = args.map(onlySmall);
      }
    }
    const callee = node["callee"];
    if (
      node["type"] === "CallExpression" &&
      isNode(callee) &&
      callee["type"] === "MemberExpression" &&
      callee["computed"] !== true &&
      isNode(callee["property"])
    ) {
      const method = callee["property"]["value"];
      const args = listOf(node["args"]);
      if (method === "replace") callInstead(node, REPLACE, [callee["object"], ...args]);
      // The interpreter strips white space whatever the argument says.
      else if (args.length > 0 && (method === "strip" || method === "lstrip" || method === "rstrip"))
        callInstead(node, `$${method}`, [callee["object"], ...args]);
    }
  });
}

/** Renders the template; the variables are plain values and functions. */
export function runSandboxed(program: unknown, variables: Readonly<Record<string, unknown>>, limits: Limits): string {
  const environment: Scope = new Environment();
  for (const [name, value] of Object.entries(variables)) environment.set(name, value);
  const meter = new Meter(limits);
  environment.set("range", (...bounds: number[]) => boundedRange(bounds));
  environment.set("$strip", (text: unknown, chars: unknown) => strip(text, chars, true, true));
  environment.set("$lstrip", (text: unknown, chars: unknown) => strip(text, chars, true, false));
  environment.set("$rstrip", (text: unknown, chars: unknown) => strip(text, chars, false, true));
  setFunction(environment, SMALL, (args) => meter.requireSmall(args[0]));
  setFunction(environment, REPLACE, (args, scope) => meter.replace(args, scope));

  const loops = new Set<unknown>();
  const sizes = new Map<unknown, number>();
  visit(program, (node) => {
    if (node["type"] === "For" && isNode(node["iterable"]))
      loops.add(node["iterable"]["type"] === "SelectExpression" ? node["iterable"]["lhs"] : node["iterable"]);
    if (node["type"] === "Macro" || node["type"] === "CallStatement") sizes.set(node, countNodes(node));
  });

  const interpreter: Evaluator = new Interpreter(environment);
  const evaluate = interpreter.evaluate.bind(interpreter);
  interpreter.evaluate = (node, scope) => {
    const type = isNode(node) ? node["type"] : undefined;
    // Leaving a loop is an exception inside; a macro is looked through whenever it is defined.
    meter.charge(type === "Continue" || type === "Break" ? 20 : 1 + (sizes.get(node) ?? 0));
    const value = evaluate(node, scope);
    if (
      type === "MemberExpression" &&
      value.type === "FunctionValue" &&
      isNode(node) &&
      mayBeReplace(node) &&
      evaluate(node["object"], scope).type === "StringValue"
    ) {
      throw new UnsupportedError("the chat template takes a text's method as a value, which Millrace doesn't support");
    }
    meter.check(value, loops.has(node));
    return value;
  };
  const result = interpreter.run(program);
  return String(result.value);
}

class Meter {
  readonly #limits: Limits;
  #steps: number;
  readonly #sizes = new WeakMap<object, { size: number; depth: number }>();

  constructor(limits: Limits) {
    this.#limits = limits;
    this.#steps = limits.steps;
  }

  charge(steps: number): void {
    this.#steps -= steps;
    if (this.#steps < 0)
      throw new UnsupportedError(`the chat template takes more than ${this.#limits.steps} steps; it was stopped`);
  }

  /** Charges for a value's size, and throws where it is too large. `loop`: it is about to be looped over. */
  check(value: Value, loop: boolean): void {
    if (value.type === "StringValue") {
      const { length } = String(value.value);
      this.charge(length >>> 5);
      this.#requireSize(length);
    } else if (value.type === "UndefinedValue") {
      this.charge(10);
    } else {
      const children = childrenOf(value);
      if (children === undefined) return;
      this.charge(loop ? children.length * 10 : children.length >>> 3);
      this.#requireSize(this.#measure(value).size);
    }
  }

  /** How large a list or object is when written out: shared parts count as often as they appear. */
  #measure(value: Value): { size: number; depth: number } {
    if (value.type === "StringValue") return { size: String(value.value).length, depth: 0 };
    const children = childrenOf(value);
    if (children === undefined) return { size: ITEM, depth: 0 };
    const known = this.#sizes.get(value);
    if (known !== undefined && value.type !== "NamespaceValue") return known;
    let size = ITEM;
    let depth = 0;
    for (const child of children) {
      if (child.type === "NamespaceValue")
        throw new UnsupportedError(
          "the chat template puts a namespace into a list or object, which Millrace doesn't support",
        );
      const inner = this.#measure(child);
      size += ITEM + inner.size;
      depth = Math.max(depth, inner.depth + 1);
    }
    if (depth > MAX_DEPTH) throw new UnsupportedError(`the chat template nests values more than ${MAX_DEPTH} deep`);
    const measured = { size, depth };
    this.#sizes.set(value, measured);
    return measured;
  }

  #requireSize(size: number): void {
    if (size > this.#limits.size)
      throw new UnsupportedError(
        `the chat template makes a value of more than ${this.#limits.size} characters; it was stopped`,
      );
  }

  requireSmall(value: Value | undefined): Value {
    if (value === undefined) throw new Error("an argument is missing");
    for (const part of childrenOf(value) ?? [value]) {
      if (typeof part.value === "number" && part.value > MAX_INDENT)
        throw new UnsupportedError(`the chat template indents by ${part.value}, more than ${MAX_INDENT}`);
      if (typeof part.value === "string" && part.value.length > MAX_SEPARATOR) {
        throw new UnsupportedError(
          `the chat template has a separator of ${part.value.length} characters, more than ${MAX_SEPARATOR}`,
        );
      }
    }
    return value;
  }

  /** `text.replace(old, new, …)`, unless the result would be too large. */
  replace(args: readonly Value[], scope: Scope): Value {
    const [text, old, replacement] = args;
    const method = text?.type === "StringValue" ? text.builtins.get("replace") : undefined;
    if (typeof text?.value !== "string" || method?.type !== "FunctionValue") throw new Error("replace() is for texts");
    if (typeof old?.value === "string" && typeof replacement?.value === "string") {
      const growth = replacement.value.length - old.value.length;
      if (growth > 0) this.#requireSize(text.value.length + growth * occurrences(text.value, old.value));
    }
    return (method.value as Call)(args.slice(1), scope);
  }
}

function occurrences(text: string, part: string): number {
  if (part === "") return text.length + 1;
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

function childrenOf(value: Value): readonly Value[] | undefined {
  const inner: unknown = value.value;
  if (Array.isArray(inner)) return inner;
  return inner instanceof Map ? [...inner.values()] : undefined;
}

/** Python's str.strip(chars). */
function strip(text: unknown, chars: unknown, left: boolean, right: boolean): string {
  if (typeof text !== "string" || typeof chars !== "string") throw new Error("strip() is for texts, and takes a text");
  let start = 0;
  let end = text.length;
  while (left && start < end && chars.includes(text.charAt(start))) start++;
  while (right && end > start && chars.includes(text.charAt(end - 1))) end--;
  return text.slice(start, end);
}

function boundedRange(bounds: readonly number[]): number[] {
  const numbers = bounds.filter((bound) => typeof bound === "number");
  const [first = 0, second, step = 1] = numbers;
  const start = second === undefined ? 0 : first;
  const stop = second ?? first;
  if (step === 0) throw new Error("range() with a step of zero");
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (!(count <= MAX_RANGE))
    throw new UnsupportedError(`the chat template loops over range() of ${count} numbers, more than ${MAX_RANGE}`);
  return Array.from({ length: count }, (_, i) => start + i * step);
}

/** A function that gets and gives the interpreter's own values. */
function setFunction(environment: Scope, name: string, run: Call): void {
  environment.set(name, () => null).value = run;
}

/** Calls of `replace` by its name have become calls of REPLACE; what is left takes the method as a value. */
function mayBeReplace(member: Fields): boolean {
  return member["computed"] === true || (isNode(member["property"]) && member["property"]["value"] === "replace");
}

function callInstead(node: Fields, name: string, args: readonly unknown[]): void {
  delete node["operand"];
  delete node["filter"];
  Object.assign(node, call(name, args));
}

function call(name: string, args: readonly unknown[]): Fields {
  return { type: "CallExpression", callee: { type: "Identifier", value: name }, args };
}

function onlySmall(argument: unknown): unknown {
  if (!isNode(argument)) return argument;
  if (argument["type"] === "SpreadExpression" || argument["type"] === "KeywordSpreadExpression") {
    throw new UnsupportedError("the chat template spreads arguments into a filter, which Millrace doesn't support");
  }
  if (argument["type"] !== "KeywordArgumentExpression") return call(SMALL, [argument]);
  argument["value"] = call(SMALL, [argument["value"]]);
  return argument;
}

function isNode(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Children first, so that a node may be replaced after them. */
function visit(value: unknown, onNode: (node: Fields) => void): void {
  if (Array.isArray(value)) for (const item of value) visit(item, onNode);
  else if (value instanceof Map) {
    for (const [key, item] of value) {
      visit(key, onNode);
      visit(item, onNode);
    }
  } else if (typeof value === "object" && value !== null) {
    for (const item of Object.values(value)) visit(item, onNode);
    if (isNode(value)) onNode(value);
  }
}

function countNodes(node: unknown): number {
  let count = 0;
  visit(node, () => count++);
  return count;
}
