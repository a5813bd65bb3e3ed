/** The tensors of a checkpoint by module: what a quantised layer is put together from. */
import { ArtifactError } from "../../errors.ts";
import type { Tensor } from "../artifact.ts";
import type { RawTensor } from "../safetensors.ts";

export type Stored = Tensor | RawTensor;

/** All that a checkpoint stores, by full name. */
export class Modules {
  readonly name: string;
  readonly #stored: ReadonlyMap<string, Stored>;

  constructor(name: string, stored: ReadonlyMap<string, Stored>) {
    this.name = name;
    this.#stored = stored;
  }

  /** The modules that store something called so: "model.layers.0.mlp.up_proj" for "qweight". */
  having(part: string): string[] {
    return this.ending(`.${part}`);
  }

  /** The names that end so, without that end. */
  ending(end: string): string[] {
    return [...this.#stored.keys()].filter((name) => name.endsWith(end)).map((name) => name.slice(0, -end.length));
  }

  /** By its full name, where it is of a type that holds no weights by itself. */
  rawOf(name: string): RawTensor | undefined {
    const found = this.#stored.get(name);
    return found !== undefined && "type" in found ? found : undefined;
  }

  find(module: string, part: string): Stored | undefined {
    return this.#stored.get(`${module}.${part}`);
  }

  get(module: string, part: string): Stored {
    const found = this.find(module, part);
    if (found !== undefined) return found;
    throw new ArtifactError(`${this.name}: "${module}" is quantised, but "${module}.${part}" is missing`);
  }

  /** One of a type that holds no weights by itself. */
  raw(module: string, part: string, types: readonly string[]): RawTensor {
    const found = this.get(module, part);
    if ("type" in found && types.includes(found.type)) return found;
    const type = "type" in found ? found.type : found.dtype;
    throw new ArtifactError(`${this.name}: "${module}.${part}" is ${type}, expected ${types.join(" or ")}`);
  }

  /** Throws where a part hasn't the shape that the others ask for. */
  checkShape(module: string, part: string, stored: Stored, shape: readonly number[]): void {
    const same = stored.shape.length === shape.length && stored.shape.every((n, i) => n === shape[i]);
    if (same) return;
    const [found, wanted] = [stored.shape, shape].map((list) => `[${list.join(", ")}]`);
    throw new ArtifactError(`${this.name}: "${module}.${part}" has the shape ${found}, expected ${wanted}`);
  }
}

/** Holds what one matrix is decoded from, while its rows are read one run after another. */
export class Kept<T> {
  #key: unknown;
  #value: Promise<T> | undefined;

  get(key: unknown, load: () => Promise<T>): Promise<T> {
    if (this.#value === undefined || this.#key !== key) {
      this.#key = key;
      this.#value = load();
    }
    return this.#value;
  }
}
