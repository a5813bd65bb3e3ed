/** The operators of template expressions, and `range`, as Python has them. */
import { MarkedText } from "../tokenizer/marked-text.ts";
import { RequestError } from "../errors.ts";
import type { Meter } from "./template-meter.ts";
import { textOf } from "./template-notation.ts";
import { contains, joinTexts, listOf } from "./template-texts.ts";
import { compare, Dict, equals, Float, keyOf, List, nameOf, numberOf, type Value } from "./template-values.ts";

const MAX_RANGE = 10_000;

export function binary(operator: string, left: Value, right: Value, meter: Meter): Value {
  switch (operator) {
    case "==":
      return equals(left, right, meter);
    case "!=":
      return !equals(left, right, meter);
    case "in":
      return isIn(left, right, meter);
    case "not in":
      return !isIn(left, right, meter);
    case "~":
      return joinTexts([textOf(left, meter), textOf(right, meter)], meter);
    case "<":
      return compare(left, right, true, meter) < 0;
    case ">":
      return compare(left, right, true, meter) > 0;
    case "<=":
      return compare(left, right, true, meter) <= 0;
    case ">=":
      return compare(left, right, true, meter) >= 0;
    case "+":
      return add(left, right, meter);
    case "*":
      if (left instanceof MarkedText && typeof right === "number") return repeat(left, right, meter);
      return arithmetic("*", left, right);
    default:
      return arithmetic(operator, left, right);
  }
}

function isIn(item: Value, container: Value, meter: Meter): boolean {
  if (container === undefined) return false;
  if (container instanceof List) return container.items.some((other) => equals(other, item, meter));
  if (container instanceof Dict)
    return (typeof item === "number" || item instanceof MarkedText) && container.entries.has(keyOf(item));
  if (container instanceof MarkedText && item instanceof MarkedText) return contains(container, item, meter);
  throw new Error(`${nameOf(item)} can't be looked for in ${nameOf(container)}`);
}

function add(left: Value, right: Value, meter: Meter): Value {
  if (left instanceof List && right instanceof List) return listOf([...left.items, ...right.items], meter);
  if (left instanceof MarkedText || right instanceof MarkedText) {
    const [missing] = [left, right].filter((value) => value === undefined || value === null);
    if (left === undefined || right === undefined || left === null || right === null)
      throw new Error(`${nameOf(missing)} can't be added to a text`);
    return joinTexts([textOf(left, meter), textOf(right, meter)], meter);
  }
  return arithmetic("+", left, right);
}

function repeat(text: MarkedText, times: number, meter: Meter): MarkedText {
  const count = Math.max(0, Math.floor(times));
  meter.size(text.length * count);
  meter.gather(count);
  return joinTexts(
    Array.from({ length: count }, () => text),
    meter,
  );
}

function arithmetic(operator: string, left: Value, right: Value): Value {
  const [a, b] = [numberOf(left), numberOf(right)];
  if (a === undefined || b === undefined) throw new Error(`${nameOf(left)} and ${nameOf(right)} have no "${operator}"`);
  if (b === 0 && (operator === "/" || operator === "//" || operator === "%")) throw new Error("a division by zero");
  const isFloat = left instanceof Float || right instanceof Float;
  const number = (value: number): Value => (isFloat ? new Float(value) : value);
  switch (operator) {
    case "+":
      return number(a + b);
    case "-":
      return number(a - b);
    case "*":
      return number(a * b);
    case "/":
      return new Float(a / b);
    case "//":
      return number(Math.floor(a / b));
    case "%":
      return number(a - b * Math.floor(a / b));
    case "**":
      return b < 0 ? new Float(a ** b) : number(a ** b);
    default:
      throw new Error(`the operator "${operator}" is unknown`);
  }
}

export function sign(operator: string, value: Value): Value {
  const number = numberOf(value);
  if (number === undefined) throw new Error(`${nameOf(value)} has no "${operator}"`);
  const signed = operator === "-" ? -number : number;
  return value instanceof Float ? new Float(signed) : signed;
}

export function rangeOf(args: readonly Value[], meter: Meter): List {
  const numbers = args.map((arg) => {
    if (typeof arg === "number") return arg;
    throw new Error(`range() takes whole numbers, not ${nameOf(arg)}`);
  });
  const [first = 0, second, step = 1] = numbers;
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  if (step === 0) throw new Error("range() with a step of zero");
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (!(count <= MAX_RANGE))
    throw new RequestError(
      `the model's chat template loops over range() of ${count} numbers, more than ${MAX_RANGE}; it was stopped`,
    );
  meter.charge(count);
  // Numbers weigh little.
  meter.gather(count / 8);
  return new List(Array.from({ length: count }, (_, i) => start + i * step));
}
