/** Writes the safetensors format: the header of names, types, shapes and places, then the data without holes. */
import type { RawTensor } from "./safetensors.ts";

const CHUNK_BYTES = 4 * 2 ** 20;

/** The bytes of one file in order, in chunks of a few MB. */
export async function* safetensorsBytes(
  entries: readonly RawTensor[],
  metadata: Readonly<Record<string, string>>,
): AsyncGenerator<Uint8Array> {
  const header: Record<string, unknown> = { __metadata__: { format: "pt", ...metadata } };
  let at = 0;
  for (const { name, type, shape, byteLength } of entries) {
    header[name] = { dtype: type, shape, data_offsets: [at, at + byteLength] };
    at += byteLength;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  // The data begins at a multiple of eight bytes.
  const length = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text, 8);
  yield bytes;
  for (const { source, offset, byteLength } of entries) {
    for (let done = 0; done < byteLength;) {
      const count = Math.min(CHUNK_BYTES, byteLength - done);
      yield await source.read(offset + done, count);
      done += count;
    }
  }
}
