/** The value types of GGUF metadata, and constants that reader and writer share. */

/** In the order of the ids in the file: 0 is u8, … 8 string, 9 (array) is left out, 10 u64, 11 i64, 12 f64. */
export type GgufScalar =
  | "u8"
  | "i8"
  | "u16"
  | "i16"
  | "u32"
  | "i32"
  | "f32"
  | "bool"
  | "string"
  | "u64"
  | "i64"
  | "f64";
/** A scalar's type, or that of an array of it ("string[]"). Arrays of arrays don't occur (llama.cpp refuses them too). */
export type GgufType = GgufScalar | `${GgufScalar}[]`;

export const GGUF_ARRAY = 9;

const scalars: readonly (GgufScalar | undefined)[] = [
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "f32",
  "bool",
  "string",
  undefined,
  "u64",
  "i64",
  "f64",
];

export function scalarOfId(id: number): GgufScalar | undefined {
  return scalars[id];
}

export function idOfScalar(scalar: GgufScalar): number {
  return scalars.indexOf(scalar);
}

/** Bytes of one value; a string's are its length field's. */
export function scalarBytes(scalar: GgufScalar): number {
  switch (scalar) {
    case "u8":
    case "i8":
    case "bool":
      return 1;
    case "u16":
    case "i16":
      return 2;
    case "u32":
    case "i32":
    case "f32":
      return 4;
    case "string":
    case "u64":
    case "i64":
    case "f64":
      return 8;
    default:
      return scalar satisfies never;
  }
}

/** The alignment of tensor data where `general.alignment` doesn't say another. */
export const DEFAULT_ALIGNMENT = 32;

export function alignUp(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}
