import assert from "node:assert/strict";
import { test } from "node:test";
import { Utf8Decoder } from "./utf8.ts";

const ours = new Utf8Decoder();
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });
const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

function check(bytes: Uint8Array): void {
  assert.equal(ours.decode(bytes, 0, bytes.length), lenient.decode(bytes));
  let want: string | undefined;
  try {
    want = strict.decode(bytes);
  } catch {}
  if (want === undefined) assert.throws(() => ours.decodeStrict(bytes, 0, bytes.length), TypeError);
  else assert.equal(ours.decodeStrict(bytes, 0, bytes.length), want);
}

test("every code point equals TextDecoder's", () => {
  for (let point = 0; point <= 0x10ffff; point += point < 0x3000 ? 1 : 37) {
    check(new TextEncoder().encode(`a${String.fromCodePoint(point)}`));
  }
  check(new TextEncoder().encode("\uFEFFx".repeat(50)));
  check(new Uint8Array(0));
});

test("so do all sequences around the borders of what is valid", () => {
  const edges = [
    0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xec, 0xed, 0xee,
  ].concat([0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff]);
  for (const a of edges) {
    for (const b of edges) {
      for (const c of edges) {
        check(Uint8Array.of(a, b, c));
        for (const d of [0x41, 0x80, 0xbf, 0xc2]) check(Uint8Array.of(a, b, c, d));
      }
    }
  }
});
