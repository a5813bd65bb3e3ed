import assert from "node:assert/strict";
import { test } from "node:test";

import { decodeUtf8, printable } from "./terminal.ts";

test("control characters are shown, not obeyed; text and line ends stay", () => {
  assert.equal(printable("a\x1b[31mé\n\t\x00\x9b"), "a\\x1b[31mé\n\t\\x00\\x9b");
  assert.equal(printable("gpj\u202e.exe\r\u{1f30d}"), "gpj\\u202e.exe\\x0d\u{1f30d}");
});

test("input that isn't UTF-8 is refused by name", () => {
  assert.equal(decodeUtf8(Buffer.from("\ufeffgrün"), "x"), "\ufeffgrün");
  assert.throws(() => decodeUtf8(Buffer.from([0x66, 0xff]), "notes.txt"), /notes\.txt isn't UTF-8/);
});
