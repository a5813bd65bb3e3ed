/** Tensors of a safetensors file whose types hold no weights by themselves: packed codes, 8-bit floats, indices. */
import { ArtifactError } from "../../errors.ts";
import { halfToNumber } from "../half.ts";
import type { Tensor } from "../artifact.ts";
import { tensorValues } from "../tensor-values.ts";
import type { RawTensor } from "../safetensors.ts";

/** Bytes of a whole raw tensor. */
export function rawBytes({ source, offset, byteLength }: RawTensor): Promise<Uint8Array> {
  return source.read(offset, byteLength);
}

/** 32-bit words of a tensor of I32. */
export async function rawInts(tensor: RawTensor): Promise<Int32Array> {
  const bytes = await rawBytes(tensor);
  return new Int32Array(new Uint8Array(bytes).buffer);
}

/** Values of a tensor of F32, F16, BF16, or of 8-bit floats. */
export async function floatsOf(tensor: Tensor | RawTensor): Promise<Float32Array> {
  if ("dtype" in tensor) return tensorValues(tensor);
  const bytes = await rawBytes(tensor);
  switch (tensor.type) {
    case "F8_E4M3":
      return decodeTable(bytes, e4m3);
    case "F8_E5M2":
      return decodeTable(bytes, e5m2);
    case "F8_E8M0":
      return decodeTable(bytes, (byte) => 2 ** (byte - 127));
    default:
      throw new ArtifactError(`${tensor.source.name}: tensor "${tensor.name}" is ${tensor.type}, expected floats`);
  }
}

/** OCP's 8-bit float: 4 bits of exponent (bias 7), 3 of fraction, no infinities. */
export function e4m3(byte: number): number {
  if ((byte & 0x7f) === 0x7f) return NaN;
  const [exponent, fraction] = [(byte >> 3) & 15, byte & 7];
  const magnitude = exponent === 0 ? fraction * 2 ** -9 : (8 + fraction) * 2 ** (exponent - 10);
  return byte & 0x80 ? -magnitude : magnitude;
}

/** The upper half of a half. */
function e5m2(byte: number): number {
  return halfToNumber(byte << 8);
}

function decodeTable(bytes: Uint8Array, decode: (byte: number) => number): Float32Array {
  const table = Float32Array.from({ length: 256 }, (_, byte) => decode(byte));
  return Float32Array.from(bytes, (byte) => table[byte] ?? 0);
}
