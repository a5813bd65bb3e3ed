/**
 * Sets of numbers: unions of pieces, each a closed interval of doubles with divisors. They are cut, and complemented, as sets of
 * values, and only then written as texts. A number that a schema says nothing about may be written in any way that is finite;
 * one under a constraint is written without an exponent.
 */
import type { GrammarBuilder } from "../builder.ts";
import type { Expression } from "../expression.ts";
import type { Partition } from "../partition.ts";
import { wholeRegex } from "../regex.ts";
import {
  boundMachine,
  commonStep,
  type Decimal,
  decimalOf,
  divisorMachine,
  finiteMachine,
  nextDown,
  nextUp,
  type Step,
  stepOf,
} from "./decimal.ts";

export interface NumberPiece {
  /** ±Infinity: no bound (all finite doubles). */
  readonly min: number;
  readonly max: number;
  readonly multipleOf: readonly number[];
  readonly notMultipleOf: readonly number[];
}

export const ALL_NUMBERS: NumberPiece = { min: -Infinity, max: Infinity, multipleOf: [], notMultipleOf: [] };

export function pointOf(value: number): NumberPiece {
  return { ...ALL_NUMBERS, min: value, max: value };
}

export function intersectNumbers(a: readonly NumberPiece[], b: readonly NumberPiece[]): readonly NumberPiece[] {
  if (isAll(a)) return b;
  if (isAll(b)) return a;
  const pieces = a.flatMap((x) =>
    b.map((y) => ({
      min: Math.max(x.min, y.min),
      max: Math.min(x.max, y.max),
      multipleOf: [...new Set([...x.multipleOf, ...y.multipleOf])],
      notMultipleOf: [...new Set([...x.notMultipleOf, ...y.notMultipleOf])],
    })),
  );
  return pieces.filter((piece) => piece.min <= piece.max && !isBarrenPoint(piece));
}

export function complementNumbers(pieces: readonly NumberPiece[]): readonly NumberPiece[] {
  return pieces.reduce<readonly NumberPiece[]>(
    (left, piece) => intersectNumbers(left, complement(piece)),
    [ALL_NUMBERS],
  );
}

function isAll(pieces: readonly NumberPiece[]): boolean {
  return pieces.some(
    ({ min, max, multipleOf, notMultipleOf }) =>
      min === -Infinity && max === Infinity && multipleOf.length === 0 && notMultipleOf.length === 0,
  );
}

function isBarrenPoint(piece: NumberPiece): boolean {
  return piece.min === piece.max && !satisfies(piece.min, piece);
}

/** Does a value agree with a piece's divisors? */
function satisfies(value: number, piece: NumberPiece): boolean {
  const own = stepOf(value);
  const divides = (one: number): boolean => {
    const step = stepOf(one);
    const scale = BigInt(Math.max(own.scale, step.scale));
    const scaled = ({ times, scale: s }: Step): bigint => times * 10n ** (scale - BigInt(s));
    return scaled(own) % scaled(step) === 0n;
  };
  return piece.multipleOf.every(divides) && !piece.notMultipleOf.some(divides);
}

function complement({ min, max, multipleOf, notMultipleOf }: NumberPiece): readonly NumberPiece[] {
  const out: NumberPiece[] = [];
  if (min !== -Infinity) out.push({ ...ALL_NUMBERS, max: nextDown(min) });
  if (max !== Infinity) out.push({ ...ALL_NUMBERS, min: nextUp(max) });
  for (const one of multipleOf) out.push({ ...ALL_NUMBERS, notMultipleOf: [one] });
  for (const one of notMultipleOf) out.push({ ...ALL_NUMBERS, multipleOf: [one] });
  return out;
}

const WHOLE = "0|[1-9]\\d{0,307}";
const DECIMAL = "(?:0|[1-9]\\d{0,307})(?:\\.\\d+)?";
/** Below this a positive decimal may be read as 0; the bound is closed, so it stands for "greater than 0". */
const SMALLEST = 1e-300;

export class NumberWriter {
  readonly #builder: GrammarBuilder;
  readonly #digits: Partition;
  readonly #free: Partition;
  readonly #known = new Map<string, Expression>();

  constructor(builder: GrammarBuilder) {
    this.#builder = builder;
    const free = "123456789.+-eE0";
    this.#free = builder.derivatives.partitions.of((byte) => free.indexOf(String.fromCharCode(byte)));
    this.#digits = builder.derivatives.partitions.of((byte) =>
      (byte >= 0x30 && byte <= 0x39) || byte === 0x2e ? byte : 0,
    );
  }

  /** The texts of a piece's numbers. */
  write(piece: NumberPiece): Expression {
    const key = JSON.stringify([String(piece.min), String(piece.max), piece.multipleOf, piece.notMultipleOf]);
    let expression = this.#known.get(key);
    if (expression === undefined) {
      expression = this.#write(piece);
      this.#known.set(key, expression);
    }
    return expression;
  }

  #write(piece: NumberPiece): Expression {
    const { pool, derivatives } = this.#builder;
    if (isAll([piece])) return pool.machine(finiteMachine(pool.idOf("finite"), this.#free), "");
    const { min, max } = piece;
    if (min === max) return satisfies(min, piece) ? pool.text(JSON.stringify(min === 0 ? 0 : min)) : pool.none;
    const positive = max >= 0 ? this.#magnitudes(Math.max(min, 0), max, piece) : pool.none;
    const negative = min < 0 ? this.#magnitudes(Math.max(-max, 0), -min, piece) : pool.none;
    const all = pool.alternatives([positive, pool.concat(pool.text("-"), negative)]);
    return derivatives.live(all) ? all : pool.none;
  }

  #magnitudes(min: number, max: number, piece: NumberPiece): Expression {
    const { pool, derivatives } = this.#builder;
    const low = min > 0 && min < SMALLEST ? SMALLEST : min;
    if (low > max) return pool.none;
    const upper = max === Infinity ? undefined : decimalOf(max);
    const step = piece.multipleOf.map(stepOf).reduce<Step | undefined>((a, b) => (a ? commonStep(a, b) : b), undefined);
    const whole = step?.times === 1n && step.scale === 0;
    if ((step === undefined || whole) && piece.notMultipleOf.length === 0) {
      const texts = wholeRegex(pool, whole ? WHOLE : DECIMAL);
      const bounded = pool.both([
        texts,
        ...(low > 0 ? [this.#bound("min", decimalOf(low))] : []),
        ...(upper === undefined ? [] : [this.#bound("max", upper)]),
      ]);
      return derivatives.live(bounded) ? bounded : pool.none;
    }
    const not = piece.notMultipleOf.map(stepOf);
    // Without a divisor one digit more than the forbidden ones have makes every number of them avoidable.
    const finest = step ?? { times: 1n, scale: Math.min(14, Math.max(...not.map((one) => one.scale)) + 2) };
    if (finest.times >= 10n ** 15n || finest.scale > 14) {
      return low === 0 && not.length === 0 ? pool.text("0") : pool.none;
    }
    const id = pool.idOf(`divisors ${JSON.stringify([low, String(max), piece.multipleOf, piece.notMultipleOf])}`);
    const machine = divisorMachine(id, this.#digits, { step: finest, not, min: decimalOf(low), max: upper });
    const start = pool.machine(machine, "");
    return this.#startsAny(start) ? start : pool.none;
  }

  #bound(kind: "min" | "max", bound: Decimal): Expression {
    const { pool } = this.#builder;
    const id = pool.idOf(`${kind} ${bound.whole}.${bound.fraction}`);
    return pool.machine(boundMachine(id, this.#digits, kind, bound), "");
  }

  /** The automaton leads into no dead end, but its beginning may be one. */
  #startsAny(start: Expression): boolean {
    const { pool, derivatives } = this.#builder;
    for (let byte = 0x30; byte <= 0x39; byte++) if (derivatives.step(start, byte) !== pool.none) return true;
    return false;
  }
}
