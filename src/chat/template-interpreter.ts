/**
 * Runs a chat template: syntax tree and variables → marked text. It follows Python's jinja2 as transformers sets it up;
 * what it doesn't know is an error. Everything that it does is charged to the meter, and every character of its output
 * keeps the origin that it came with, so that a message can't pass for the template's own words.
 */
import { MarkedText } from "../tokenizer/marked-text.ts";
import { FILTERS, itemsIn, TESTS } from "./template-filters.ts";
import type { Meter } from "./template-meter.ts";
import { attribute, lookUp, type Named } from "./template-methods.ts";
import { binary, rangeOf, sign } from "./template-operators.ts";
import { Scope } from "./template-scope.ts";
import type {
  Argument,
  Assign,
  Call,
  CallBlock,
  Expression,
  For,
  Identifier,
  Member,
  Parameter,
  Program,
  Slice,
  Statement,
} from "./template-syntax.ts";
import { textOf } from "./template-notation.ts";
import { listOf, sliceBounds, sliceText, TextBuilder } from "./template-texts.ts";
import { Dict, Float, Func, isTrue, List, Loop, nameOf, Namespace, own, type Value } from "./template-values.ts";

/** How a block ended: `break` and `continue` leave the blocks around them up to their loop. */
type Leaving = "break" | "continue" | undefined;

export function runTemplate(program: Program, variables: ReadonlyMap<string, Value>, meter: Meter): MarkedText {
  const globals = new Scope();
  globals.set("range", new Func((args) => rangeOf(args, meter)));
  globals.set("namespace", new Func((args, named) => namespaceOf(args, named, meter)));
  const scope = new Scope(globals);
  for (const [name, value] of variables) scope.set(name, value);
  const out = new TextBuilder(meter);
  new Interpreter(meter).block(program.body, scope, out);
  return out.end();
}

class Interpreter {
  readonly #meter: Meter;

  constructor(meter: Meter) {
    this.#meter = meter;
  }

  block(statements: readonly Statement[], scope: Scope, out: TextBuilder): Leaving {
    for (const statement of statements) {
      const leaving = this.#statement(statement, scope, out);
      if (leaving !== undefined) return leaving;
    }
    return undefined;
  }

  #statement(node: Statement, scope: Scope, out: TextBuilder): Leaving {
    this.#meter.charge(1);
    switch (node.type) {
      case "If":
        return this.block(isTrue(this.#value(node.test, scope)) ? node.body : node.alternate, scope, out);
      case "For":
        return this.#loop(node, scope, out);
      case "Set":
        this.#assign(node, scope);
        return undefined;
      case "Macro":
        scope.set(node.name.value, this.#macro(node.args, node.body, scope));
        return undefined;
      case "CallStatement":
        out.push(textOf(this.#callBlock(node, scope), this.#meter));
        return undefined;
      case "FilterStatement":
        out.push(textOf(this.#filter(this.#text(node.body, scope), node.filter, scope), this.#meter));
        return undefined;
      case "Break":
        return "break";
      case "Continue":
        return "continue";
      case "Comment":
        return undefined;
      default:
        out.push(textOf(this.#value(node, scope), this.#meter));
        return undefined;
    }
  }

  /** What a block writes, as a value. */
  #text(body: readonly Statement[], scope: Scope): MarkedText {
    const out = new TextBuilder(this.#meter);
    this.block(body, scope, out);
    return out.end();
  }

  #loop(node: For, scope: Scope, out: TextBuilder): Leaving {
    const { iterable } = node;
    const source = this.#value(iterable.type === "SelectExpression" ? iterable.lhs : iterable, scope);
    let items = itemsIn(source, this.#meter);
    this.#meter.charge(items.length);
    if (iterable.type === "SelectExpression") {
      items = items.filter((item) => {
        const round = new Scope(scope);
        this.#bind(node.loopvar, item, round);
        return isTrue(this.#value(iterable.test, round));
      });
    }
    if (items.length === 0) return this.block(node.defaultBlock, scope, out);
    for (let i = 0; i < items.length; i++) {
      this.#meter.charge(3);
      const loop = new Loop(items);
      loop.index = i;
      const round = new Scope(scope);
      round.set("loop", loop);
      this.#bind(node.loopvar, items[i], round);
      if (this.block(node.body, round, out) === "break") break;
    }
    return undefined;
  }

  #assign(node: Assign, scope: Scope): void {
    const value = node.value === null ? this.#text(node.body, scope) : this.#value(node.value, scope);
    const { assignee } = node;
    if (assignee.type !== "MemberExpression") {
      this.#bind(assignee, value, scope);
      return;
    }
    const owner = this.#value(assignee.object, scope);
    if (assignee.computed || assignee.property.type !== "Identifier")
      throw new Error("only a field with a name can be set");
    this.#meter.charge(1);
    const field = assignee.property.value;
    if (owner instanceof Namespace) owner.fields.set(field, value);
    // Beyond Python's jinja2, which knows namespaces only: templates made for llama.cpp set fields of messages.
    else if (owner instanceof Dict) owner.entries.set(field, { key: own(field), value });
    else throw new Error(`${nameOf(owner)} has no fields to set`);
  }

  /** A name, or several for the items of a list. */
  #bind(target: Expression, value: Value, scope: Scope): void {
    if (target.type === "Identifier") {
      scope.set(target.value, value);
      return;
    }
    if (target.type !== "TupleLiteral") throw new Error("a value can be given to names only");
    if (!(value instanceof List) || value.items.length !== target.value.length)
      throw new Error(`${nameOf(value)} can't be given to ${target.value.length} names`);
    target.value.forEach((name, i) => this.#bind(name, value.items[i], scope));
  }

  #macro(parameters: readonly Parameter[], body: readonly Statement[], defined: Scope): Func {
    return new Func((args, named) =>
      this.#meter.call(() => {
        const scope = new Scope(defined);
        const names = parameters.map(
          (parameter) => (parameter.type === "Identifier" ? parameter : parameter.key).value,
        );
        parameters.forEach((parameter, i) => {
          const name = names[i] ?? "";
          const given = i < args.length ? args[i] : named.get(name);
          const missing = given === undefined && parameter.type === "KeywordArgumentExpression";
          scope.set(name, missing ? this.#value(parameter.value, scope) : given);
        });
        scope.set("varargs", listOf(args.slice(parameters.length), this.#meter));
        const others = [...named].filter(([name]) => !names.includes(name));
        for (const [name, value] of others) if (name === "caller") scope.set(name, value);
        scope.set("kwargs", this.#dict(others.map(([name, value]) => [own(name), value])));
        return this.#text(body, scope);
      }),
    );
  }

  #callBlock(node: CallBlock, scope: Scope): Value {
    const { args, named } = this.#arguments(node.call.args, scope);
    const caller = this.#macro(node.callerArgs ?? [], node.body, scope);
    return this.#function(node.call.callee, scope).call(args, new Map([...named, ["caller", caller]]));
  }

  #value(node: Expression, scope: Scope): Value {
    const meter = this.#meter;
    meter.charge(1);
    switch (node.type) {
      case "StringLiteral":
        return own(String(node.value));
      case "IntegerLiteral":
        return Number(node.value);
      case "FloatLiteral":
        return new Float(Number(node.value));
      case "ArrayLiteral":
      case "TupleLiteral":
        return listOf(
          node.value.map((item) => this.#value(item, scope)),
          meter,
        );
      case "ObjectLiteral":
        return this.#dict(
          Array.from(node.value, ([key, value]) => [keyArg(this.#value(key, scope)), this.#value(value, scope)]),
        );
      case "Identifier":
        return scope.get(node.value, meter);
      case "MemberExpression":
        return this.#member(node, scope);
      case "CallExpression": {
        const { args, named } = this.#arguments(node.args, scope);
        return this.#function(node.callee, scope).call(args, named);
      }
      case "FilterExpression":
        return this.#filter(this.#value(node.operand, scope), node.filter, scope);
      case "TestExpression": {
        const test = TESTS.get(node.test.value);
        if (test === undefined) throw new Error(`the test "${node.test.value}" is unknown`);
        return test(this.#value(node.operand, scope), undefined, meter) !== node.negate;
      }
      case "UnaryExpression": {
        const value = this.#value(node.argument, scope);
        return node.operator.value === "not" ? !isTrue(value) : sign(node.operator.value, value);
      }
      case "BinaryExpression": {
        const left = this.#value(node.left, scope);
        const operator = node.operator.value;
        if (operator === "and") return isTrue(left) ? this.#value(node.right, scope) : left;
        if (operator === "or") return isTrue(left) ? left : this.#value(node.right, scope);
        return binary(operator, left, this.#value(node.right, scope), meter);
      }
      case "Ternary":
        return this.#value(isTrue(this.#value(node.condition, scope)) ? node.trueExpr : node.falseExpr, scope);
      case "SelectExpression":
        return isTrue(this.#value(node.test, scope)) ? this.#value(node.lhs, scope) : undefined;
      default:
        throw new Error(`unexpected ${(node satisfies never as { readonly type: string }).type}`);
    }
  }

  #dict(entries: readonly (readonly [MarkedText | number, Value])[]): Dict {
    this.#meter.gather(entries.length);
    return new Dict(entries);
  }

  #function(callee: Expression, scope: Scope): Func {
    const value = this.#value(callee, scope);
    if (value instanceof Func) return value;
    throw new Error(`${describe(callee)} is ${nameOf(value)}, which can't be called`);
  }

  #filter(operand: Value, node: Identifier | Call, scope: Scope): Value {
    const callee = node.type === "Identifier" ? node : node.callee;
    const filter = callee.type === "Identifier" ? FILTERS.get(callee.value) : undefined;
    if (filter === undefined) throw new Error(`the filter "${describe(callee)}" is unknown`);
    const { args, named } = this.#arguments(node.type === "Identifier" ? [] : node.args, scope);
    this.#meter.charge(1);
    return filter(operand, args, named, this.#meter);
  }

  #arguments(list: readonly Argument[], scope: Scope): { args: Value[]; named: Named } {
    const args: Value[] = [];
    const named = new Map<string, Value>();
    for (const argument of list) {
      if (argument.type === "KeywordArgumentExpression") {
        named.set(argument.key.value, this.#value(argument.value, scope));
      } else if (argument.type === "SpreadExpression") {
        const items = itemsIn(this.#value(argument.argument, scope), this.#meter);
        this.#meter.gather(items.length);
        for (const item of items) args.push(item);
      } else if (argument.type === "KeywordSpreadExpression") {
        const more = this.#value(argument.argument, scope);
        if (!(more instanceof Dict)) throw new Error(`${nameOf(more)} can't be given as named arguments`);
        this.#meter.gather(more.entries.size);
        for (const [name, { value }] of more.entries) named.set(String(name), value);
      } else args.push(this.#value(argument, scope));
    }
    return { args, named };
  }

  #member({ object, property, computed }: Member, scope: Scope): Value {
    const owner = this.#value(object, scope);
    if (property.type === "SliceExpression") return this.#slice(owner, property, scope);
    const key = computed ? this.#value(property, scope) : nameIn(property);
    if (key instanceof MarkedText) {
      // In brackets a member comes before a method.
      const member = computed && owner instanceof Dict ? owner.entries.get(key.value) : undefined;
      return member === undefined ? attribute(owner, key.value, this.#meter) : member.value;
    }
    if (key === undefined) return undefined;
    if (typeof key !== "number") throw new Error(`${nameOf(key)} is no key`);
    if (owner instanceof Dict) return lookUp(owner, key);
    if (owner instanceof List) return owner.items.at(key);
    if (!(owner instanceof MarkedText)) return undefined;
    const character = sliceText(owner, key, key === -1 ? undefined : key + 1, 1, this.#meter);
    return character.length === 0 ? undefined : character;
  }

  #slice(owner: Value, node: Slice, scope: Scope): Value {
    const bound = (part: Expression | undefined): number | undefined => {
      const value = part && this.#value(part, scope);
      if (value === undefined || value === null || typeof value === "number") return value ?? undefined;
      throw new Error(`${nameOf(value)} can't bound a slice`);
    };
    const [start, stop, step = 1] = [bound(node.start), bound(node.stop), bound(node.step)];
    if (owner instanceof MarkedText) return sliceText(owner, start, stop, step, this.#meter);
    const items = itemsIn(owner, this.#meter);
    const [from, to] = sliceBounds(items.length, start, stop, step);
    const part: Value[] = [];
    for (let i = from; step > 0 ? i < to : i > to; i += step) part.push(items[i]);
    return listOf(part, this.#meter);
  }
}

function keyArg(key: Value): MarkedText | number {
  if (typeof key === "number" || key instanceof MarkedText) return key;
  throw new Error(`${nameOf(key)} can't be an object's key`);
}

function nameIn(property: Expression): Value {
  if (property.type === "Identifier") return own(property.value);
  return property.type === "IntegerLiteral" ? Number(property.value) : undefined;
}

function describe(node: Expression): string {
  if (node.type === "Identifier") return node.value.slice(0, 40);
  if (node.type === "MemberExpression" && node.property.type === "Identifier") return node.property.value.slice(0, 40);
  return "what is called";
}

function namespaceOf(args: readonly Value[], named: Named, meter: Meter): Namespace {
  const result = new Namespace();
  const [source] = args;
  meter.gather(named.size + (source instanceof Dict ? source.entries.size : 0));
  if (source instanceof Dict) for (const [name, { value }] of source.entries) result.fields.set(String(name), value);
  for (const [name, value] of named) result.fields.set(name, value);
  return result;
}
