/**
 * ModelArtifact: a model as files hold it, before any backend sees it. Readers (GGUF, safetensors) make one;
 * `models/` reads its config, `tokenizer/` its tokenizer, a backend streams its tensors. Tensor *values* never
 * pass through here: a tensor is a place in a ByteSource.
 */
import type { DType } from "./dtype.ts";
import type { GgufType } from "./gguf-types.ts";

/** Ranges of bytes of a file, of several files, of an HTTP resource or of memory. */
export interface ByteSource {
  /** For messages: a path or an address. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Exactly `length` bytes from `offset`; throws ArtifactError where the source ends before. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** An open file descriptor, where the source is one file: a backend reads from it by itself. */
  readonly fd?: number;
  /** Another one for other bytes, on this machine; absent where nothing tells. */
  readonly identity?: string;
  /** Throws ArtifactError where the bytes may be others than when it was opened. Absent: they can't change. */
  checkUnchanged?(): Promise<void>;
  close(): Promise<void>;
}

export interface Tensor {
  readonly name: string;
  readonly dtype: DType;
  /** Row-major, outermost first: a linear layer is `[N, K]` (GGUF's `ne` reversed); stacked experts `[E, N, K]`. */
  readonly shape: readonly number[];
  readonly source: ByteSource;
  /** Byte offset of the first value in `source`. */
  readonly offset: number;
  readonly byteLength: number;
}

/** Metadata values as GGUF and JSON know them. 64-bit integers beyond 2^53 stay bigint. */
export type MetaValue = string | number | boolean | bigint | null | readonly MetaValue[] | MetaArray | MetaObject;
/** A long GGUF array of numbers or strings. */
export type MetaArray =
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint32Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array;
export interface MetaObject {
  readonly [key: string]: MetaValue | undefined;
}

/**
 * Where the config came from decides its vocabulary: `gguf` has flat keys ("llama.block_count"), `hf` is
 * config.json. Families in `models/` read both. Tensor names differ likewise; the readers keep the file's own
 * names.
 */
export interface ModelConfig {
  readonly format: "gguf" | "hf";
  /** GGUF's `general.architecture` ("llama"), or config.json's `model_type`. */
  readonly architecture: string;
  readonly values: MetaObject;
}

/** What the tokenizer is made from; `tokenizer/` interprets it. `name`: the file or folder, for messages. */
export type TokenizerSource = { readonly name?: string } & (
  | { readonly format: "gguf"; readonly metadata: MetaObject }
  | { readonly format: "hf"; readonly tokenizer: MetaObject; readonly config: MetaObject }
  /** Mistral's own file, beside Hugging Face's weights. */
  | { readonly format: "tekken"; readonly tekken: MetaObject }
);

/** Sampling defaults that the model's makers give (generation_config.json or GGUF's general.sampling.* keys). */
export interface GenerationDefaults {
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  /** Ids that end a generation beyond the tokenizer's own end-of-sequence and end-of-turn tokens. */
  readonly eosTokenIds?: readonly number[];
}

/** How a model's makers turn its rows into one vector, as far as its files say. */
export interface EmbeddingDefaults {
  readonly pooling?: "mean" | "first" | "last";
  /** Are vectors made to have the length 1? */
  readonly normalize?: boolean;
  /** Matrices that the pooled vector goes through, in order, before it gets its length (sentence-transformers' Dense). */
  readonly dense?: readonly DenseLayer[];
  /** What the files ask for beside, and nobody here computes. */
  readonly unread?: readonly string[];
}

/** x → activation(x Wᵀ + bias). */
export interface DenseLayer {
  /** `[outputs, inputs]`. */
  readonly weight: Float32Array;
  readonly inputs: number;
  readonly bias?: Float32Array;
  readonly activation: "identity" | "tanh";
}

export interface ModelArtifact {
  /** The file or folder, for messages. */
  readonly name: string;
  readonly config: ModelConfig;
  readonly tokenizer: TokenizerSource;
  /** Jinja source, where the model has one. */
  readonly chatTemplate?: string;
  readonly generation: GenerationDefaults;
  readonly embedding?: EmbeddingDefaults;
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** All metadata as read, for `millrace inspect` (GGUF's keys, or the HF JSON files under their names). */
  readonly metadata: MetaObject;
  /** The exact types of GGUF metadata, which writing it again needs; absent where the model isn't from GGUF. */
  readonly ggufTypes?: ReadonlyMap<string, GgufType>;
  close(): Promise<void>;
}
