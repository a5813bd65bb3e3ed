/** Finds the tensors of a file by name and checks their shapes; no values are read here. */
import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { ArtifactError } from "../errors.ts";

/** The tensors of an artifact, with the errors a user needs. */
export class TensorFinder {
  readonly artifact: ModelArtifact;

  constructor(artifact: ModelArtifact) {
    this.artifact = artifact;
  }

  /** The tensor of the first of `names` that the file has, or undefined. */
  find(names: readonly string[]): Tensor | undefined {
    for (const name of names) {
      const tensor = this.artifact.tensors.get(name);
      if (tensor !== undefined) return tensor;
    }
    return undefined;
  }

  /** The tensor of one of `names`, of any shape with `count` values. */
  values(names: readonly string[], count: number): Tensor {
    const { shape = [count] } = this.find(names) ?? {};
    const product = shape.reduce((total, n) => total * n, 1);
    return this.get(names, product === count ? shape : [count]);
  }

  /** The tensor of one of `names`, of the given shape. */
  get(names: readonly string[], shape: readonly number[]): Tensor {
    const tensor = this.find(names);
    const wanted = `[${shape.join(", ")}]`;
    const { name: file } = this.artifact;
    if (tensor === undefined) {
      throw new ArtifactError(`${file}: there is no tensor "${names.join('" or "')}", expected one of shape ${wanted}`);
    }
    const same = tensor.shape.length === shape.length && shape.every((n, i) => tensor.shape[i] === n);
    if (!same) {
      const found = `[${tensor.shape.join(", ")}]`;
      throw new ArtifactError(`${file}: tensor "${tensor.name}" has the shape ${found}, expected ${wanted}`);
    }
    return tensor;
  }
}
