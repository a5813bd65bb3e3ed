/**
 * Reads a model's config in either vocabulary: GGUF's flat keys ("llama.block_count"; the architecture is put in
 * front here) or config.json's. Every value is checked where it is read, and a missing or senseless one is an
 * ArtifactError that names the file, the key and what was expected.
 */
import type { MetaObject, MetaValue, ModelArtifact } from "../artifact/artifact.ts";
import { ArtifactError } from "../errors.ts";

/** No sane model has more of anything that the config counts (and a hostile one shall not allocate it). */
const LARGEST_COUNT = 2 ** 31 - 1;

export function isObject(value: MetaValue | undefined): value is MetaObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/** A list of numbers, however the file held it. */
export function numberList(value: MetaValue | undefined): number[] | undefined {
  if (value === undefined || value === null || typeof value !== "object") return undefined;
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) return undefined;
  const list: unknown[] = Array.from(value as ArrayLike<unknown>);
  return list.every((x) => typeof x === "number") ? list : undefined;
}

/** A setting's name in both vocabularies; `null` where a vocabulary doesn't have it. */
export type Key = readonly [gguf: string | null, hf: string | null];

export class ConfigReader {
  readonly format: "gguf" | "hf";
  readonly architecture: string;
  readonly #artifact: string;
  readonly #values: MetaObject;

  constructor(artifact: ModelArtifact) {
    const { format, architecture, values } = artifact.config;
    this.format = format;
    this.architecture = architecture;
    this.#artifact = artifact.name;
    // A model for text and images keeps the text model's config one level down.
    const text = values["text_config"];
    this.#values = format === "hf" && isObject(text) ? text : values;
  }

  /** The raw value, or undefined (also for JSON's null). */
  get(key: Key): MetaValue | undefined {
    const name = this.#name(key);
    return name === null ? undefined : (this.#values[name] ?? undefined);
  }

  /** A whole number ≥ 1; without a fallback it must be there. */
  int(key: Key, fallback?: number): number {
    return this.#number(
      key,
      fallback,
      "a positive whole number",
      (x) => Number.isInteger(x) && x > 0 && x <= LARGEST_COUNT,
    );
  }

  /** A finite number > 0; without a fallback it must be there. */
  float(key: Key, fallback?: number): number {
    return this.#number(key, fallback, "a positive number", (x) => Number.isFinite(x) && x > 0);
  }

  /** A number > 0, or undefined where it isn't set (missing, null, 0). */
  optional(key: Key): number | undefined {
    const value = this.get(key);
    return value === undefined || value === 0 || value === false ? undefined : this.float(key);
  }

  bool(key: Key, fallback: boolean): boolean {
    const value = this.get(key);
    if (value === undefined) return fallback;
    if (typeof value !== "boolean") throw this.wrong(key, "true or false");
    return value;
  }

  object(key: Key): MetaObject | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (!isObject(value)) throw this.wrong(key, "an object");
    return value;
  }

  /** One of `allowed` strings. */
  choice<T extends string>(key: Key, allowed: Readonly<Record<string, T>>, fallback: T): T {
    const value = this.get(key);
    if (value === undefined) return fallback;
    const found = typeof value === "string" && Object.hasOwn(allowed, value) ? allowed[value] : undefined;
    if (found === undefined) throw this.wrong(key, Object.keys(allowed).join(", "));
    return found;
  }

  /** The error for a value that is not what was expected. */
  wrong(key: Key, expected: string): ArtifactError {
    return this.wrongValue(this.#name(key) ?? key[0] ?? key[1] ?? "", this.get(key), expected);
  }

  /** The same for a value inside another, or one that was worked out. */
  wrongValue(name: string, value: MetaValue | undefined, expected: string): ArtifactError {
    const is = value === undefined ? "is missing" : `is ${describe(value)}`;
    return new ArtifactError(`${this.#artifact}: config "${name}" ${is}, expected ${expected}`);
  }

  #name(key: Key): string | null {
    if (this.format === "hf") return key[1];
    return key[0] === null ? null : `${this.architecture}.${key[0]}`;
  }

  #number(key: Key, fallback: number | undefined, expected: string, fine: (x: number) => boolean): number {
    let value = this.get(key);
    if (value === undefined && fallback !== undefined) return fallback;
    if (typeof value === "bigint") value = Number(value);
    // GGUF may give a count for each layer; a model that uses the same everywhere is fine.
    const list = numberList(value);
    if (list !== undefined && list.length > 0 && list.every((x) => x === list[0])) value = list[0];
    if (typeof value !== "number" || !fine(value)) throw this.wrong(key, expected);
    return value;
  }
}

function describe(value: MetaValue): string {
  if (typeof value === "bigint" || typeof value === "number") return String(value);
  if (isObject(value)) return "an object";
  if (Array.isArray(value) && value.some((x) => typeof x === "object")) return "a list";
  const text = ArrayBuffer.isView(value) ? `an array of ${value.length}` : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
