/**
 * Numbers as JSON writes them: exact decimals of doubles, and automata that hold a text's digits against a bound or a divisor.
 * A text and the double it is read as lie on the same side of every double, so a comparison of digits is exact for closed
 * bounds; an open bound is a closed one at the neighbouring double.
 */
import type { Machine } from "../expression.ts";
import type { Partition } from "../partition.ts";

/** A magnitude: value = digits of `whole` "." digits of `fraction`; no superfluous zeros. */
export interface Decimal {
  readonly whole: string;
  readonly fraction: string;
}

/** The shortest decimal that reads as |value|. */
export function decimalOf(value: number): Decimal {
  const [mantissa = "0", exponent = "0"] = Math.abs(value).toString().split("e");
  const [whole = "0", fraction = ""] = mantissa.split(".");
  const digits = whole + fraction;
  const point = whole.length + Number(exponent);
  const padded = point <= 0 ? "0".repeat(1 - point) + digits : digits.padEnd(point, "0");
  const at = Math.max(point, 1);
  return { whole: padded.slice(0, at).replace(/^0+(?=\d)/, ""), fraction: padded.slice(at).replace(/0+$/, "") };
}

/** The next double above. */
export function nextUp(value: number): number {
  if (value === Infinity || value === Number.MAX_VALUE) return Infinity;
  if (value === -Infinity) return -Number.MAX_VALUE;
  if (value === 0) return Number.MIN_VALUE;
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  view.setBigInt64(0, view.getBigInt64(0) + (value > 0 ? 1n : -1n));
  return view.getFloat64(0);
}

export function nextDown(value: number): number {
  return -nextUp(-value);
}

/** A rational `times` / 10^`scale`, in lowest such terms. */
export interface Step {
  readonly times: bigint;
  readonly scale: number;
}

export function stepOf(value: number): Step {
  const { whole, fraction } = decimalOf(value);
  return reduce(BigInt(whole + fraction), fraction.length);
}

/** The least common multiple. */
export function commonStep(a: Step, b: Step): Step {
  const scale = Math.max(a.scale, b.scale);
  const x = a.times * 10n ** BigInt(scale - a.scale);
  const y = b.times * 10n ** BigInt(scale - b.scale);
  return reduce((x / gcd(x, y)) * y, scale);
}

function reduce(times: bigint, scale: number): Step {
  let [t, s] = [times, scale];
  while (s > 0 && t % 10n === 0n) [t, s] = [t / 10n, s - 1];
  return { times: t, scale: s };
}

function gcd(a: bigint, b: bigint): bigint {
  return b === 0n ? a : gcd(b, a % b);
}

/**
 * Any number of RFC 8259 that is a finite double for sure: with n digits before the point and an exponent of at most 308 − n
 * (or 308 after a mantissa from 1 to below 1.7). A state is a phase and what bounds the exponent.
 */
export function finiteMachine(id: number, partition: Partition): Machine {
  const digit = (char: string): boolean => char >= "0" && char <= "9";
  const step = (state: string, char: string): string | undefined => {
    const phase = state[0] ?? "";
    const rest = state.slice(1);
    switch (phase) {
      case "":
      case "-":
        if (char === "-") return phase === "" ? "-" : undefined;
        if (char === "0") return "z308";
        return digit(char) ? (char === "1" ? "o1" : "i1") : undefined;
      // One digit, 1; some digits: how many.
      case "o":
      case "i":
        if (digit(char)) return Number(rest) < 308 ? `i${Number(rest) + 1}` : undefined;
        if (char === ".") return phase === "o" ? "q" : `p${308 - Number(rest)}`;
        return char === "e" || char === "E" ? `e${phase === "o" ? 308 : 308 - Number(rest)}` : undefined;
      // A 0.
      case "z":
        return char === "." ? "p308" : char === "e" || char === "E" ? "e308" : undefined;
      // After "1."; after another point; in a fraction. The number bounds the exponent.
      case "q":
        return digit(char) ? (char <= "6" ? "f308" : "f307") : undefined;
      case "p":
        return digit(char) ? `f${rest}` : undefined;
      case "f":
        if (digit(char)) return state;
        return char === "e" || char === "E" ? `e${rest}` : undefined;
      // After e; after its sign; in a negative exponent; in another: its bound, and its value.
      case "e":
        if (char === "-") return "m";
        if (char === "+") return `s${rest}`;
        return step(`s${rest}`, char);
      case "m":
      case "n":
        return digit(char) ? "n" : undefined;
      case "s":
        return digit(char) && Number(char) <= Number(rest) ? `x${rest}:${char}` : undefined;
      case "x": {
        const [bound = "0", value = "0"] = rest.split(":");
        const next = Number(value) * 10 + Number(char);
        return digit(char) && next <= Number(bound) ? `x${bound}:${next}` : undefined;
      }
      default:
        return undefined;
    }
  };
  return {
    id,
    partition,
    step: (state, byte) => step(state, String.fromCharCode(byte)),
    accepts: (state) => /^[oizfnx]/.test(state),
  };
}

/** Compares the digits of a magnitude (no sign, no exponent, no superfluous zeros) with a bound. */
export function boundMachine(id: number, partition: Partition, kind: "min" | "max", bound: Decimal): Machine {
  const { whole, fraction } = bound;
  const length = whole.length;
  // "i<n><order>": n digits of the whole part, and how they compare; "f<n>": equal up to n digits of the fraction;
  // ">" and "<": decided.
  const final = (state: string): string => {
    if (state === ">" || state === "<") return state;
    const count = Number.parseInt(state.slice(1), 10);
    if (state.startsWith("i") && count < length) return "<";
    const order = state.startsWith("i") ? state.slice(-1) : "=";
    if (order !== "=") return order;
    return (state.startsWith("f") ? fraction.slice(count) : fraction) === "" ? "=" : "<";
  };
  const decided = (order: string): string | undefined => (order === (kind === "max" ? ">" : "<") ? undefined : order);
  const compare = (byte: number, digit: string | undefined): string => {
    const other = (digit ?? "0").charCodeAt(0);
    return byte < other ? "<" : byte > other ? ">" : "=";
  };
  return {
    id,
    partition,
    step(state, byte) {
      if (state === ">" || state === "<") return state;
      const inFraction = state.startsWith("f");
      const count = state === "" ? 0 : Number.parseInt(state.slice(1), 10);
      if (byte === 0x2e) {
        if (inFraction) return undefined;
        if (count < length) return decided("<");
        const order = state.slice(-1);
        return order === "=" ? "f0" : decided(order);
      }
      if (inFraction) {
        const order = compare(byte, fraction[count]);
        return order === "=" ? `f${Math.min(count + 1, fraction.length)}` : decided(order);
      }
      if (count === length) return decided(">");
      const before = state === "" ? "=" : state.slice(-1);
      const order = before === "=" ? compare(byte, whole[count]) : before;
      return count + 1 === length && order === ">" && kind === "max" ? undefined : `i${count + 1}${order}`;
    },
    accepts(state) {
      const order = state === "" ? "<" : final(state);
      return order === "=" || order === (kind === "max" ? "<" : ">");
    },
  };
}

export interface Divisors {
  /** The value is a multiple of this… */
  readonly step: Step;
  /** …and of none of these. */
  readonly not: readonly Step[];
  readonly min: Decimal;
  /** Undefined: none. */
  readonly max: Decimal | undefined;
}

/** Doubles tell decimals of up to 15 digits apart (and the decimals agree with them on what is a multiple). */
const DIGITS = 15;
/** Multiples tried when some are forbidden. */
const TRIES = 1000n;

/** Reads magnitudes of up to 15 digits; a state is the text so far. Never leads into a dead end. */
export function divisorMachine(id: number, partition: Partition, divisors: Divisors): Machine {
  const { step, not } = divisors;
  const scale = Math.max(step.scale, ...not.map((one) => one.scale));
  const scaled = (one: Step): bigint => one.times * 10n ** BigInt(scale - one.scale);
  const unit = scaled(step);
  const forbidden = not.map(scaled);
  const min = scaleBound(divisors.min, scale, true);
  const max = divisors.max === undefined ? undefined : scaleBound(divisors.max, scale, false);
  const anyIn = (low: bigint, high: bigint): boolean => {
    const from = low > min ? low : min;
    const to = max !== undefined && max < high ? max : high;
    let value = ((from + unit - 1n) / unit) * unit;
    for (let tries = 0n; value <= to && tries < TRIES; tries++, value += unit) {
      if (forbidden.every((one) => value % one !== 0n)) return true;
    }
    return false;
  };
  const viable = (text: string): boolean => {
    const [whole = "", fraction] = text.split(".");
    const room = DIGITS - whole.length - (fraction?.length ?? 0);
    if (room < 0 || (whole.length > 1 && whole.startsWith("0"))) return false;
    const digits = BigInt(whole + (fraction ?? "") || "0");
    if (fraction !== undefined) {
      if (fraction.length > scale || (fraction === "" && scale === 0)) return false;
      const size = 10n ** BigInt(scale - fraction.length);
      return anyIn(digits * size, (digits + 1n) * size - 1n);
    }
    const more = whole === "0" ? 0 : DIGITS - scale - whole.length;
    for (let count = 0; count <= more; count++) {
      const size = 10n ** BigInt(scale + count);
      if (anyIn(digits * size, (digits + 1n) * size - 1n)) return true;
    }
    return false;
  };
  /** Of whole parts that go on in the same ways one stands for all: without a maximum, equal remainders of equal length. */
  const period = unit / gcd(unit, 10n ** BigInt(scale));
  const alike = (text: string): string => {
    if (max !== undefined || forbidden.length > 0 || text.length < 2 || text.includes(".")) return text;
    const shortest = 10n ** BigInt(text.length - 1);
    const least = min / 10n ** BigInt(scale) + 1n;
    const from = shortest > least ? shortest : least;
    const value = BigInt(text);
    return value < from ? text : String(from + ((value - from) % period));
  };
  return {
    id,
    partition,
    step(state, byte) {
      const next = state + String.fromCharCode(byte);
      return !/^\d+(?:\.\d*)?$/.test(next) || !viable(next) ? undefined : alike(next);
    },
    accepts(state) {
      if (!/^\d+(?:\.\d+)?$/.test(state)) return false;
      const [whole = "", fraction = ""] = state.split(".");
      const value = BigInt(whole + fraction) * 10n ** BigInt(scale - fraction.length);
      return anyIn(value, value);
    },
  };
}

function scaleBound({ whole, fraction }: Decimal, scale: number, up: boolean): bigint {
  const kept = BigInt(whole + fraction.slice(0, scale).padEnd(scale, "0"));
  return up && fraction.length > scale ? kept + 1n : kept;
}
