/**
 * What a parsed GGUF file is. `gguf-reader.ts` makes one, `gguf-writer.ts` writes one, `gguf-artifact.ts` turns one or
 * several (a split model) into a ModelArtifact.
 */
import type { ByteSource, MetaObject, Tensor } from "./artifact.ts";
import type { GgufType } from "./gguf-types.ts";

/** What a GGUF file says of itself; the metadata's exact types are kept so that it can be written again. */
export interface GgufDescription {
  readonly metadata: MetaObject;
  readonly types: ReadonlyMap<string, GgufType>;
  readonly tensors: readonly Tensor[];
}

export interface GgufFile extends GgufDescription {
  readonly source: ByteSource;
  readonly version: number;
  /** Bytes of header, metadata and tensor table. */
  readonly headerBytes: number;
  /** Where the tensors' data begins. */
  readonly dataOffset: number;
}
