/** Values of JSON that is still being written. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../test/support/random.ts";
import { PartialJson } from "./partial-json.ts";

const VALUE = {
  name: 'Ada "the \\ first" \u{1f600}',
  tags: ["a", [], {}, [1, -2.5e3, true, false, null]],
  'key \\"': { deep: { deeper: ["é"] } },
  empty: "",
};

function stages(text: string): string[] {
  const json = new PartialJson();
  return Array.from(text).flatMap((char) => {
    const stage = json.push(char);
    return stage === undefined ? [] : [JSON.stringify(stage.value)];
  });
}

test("what has come is there, and nothing else", () => {
  assert.deepEqual(stages('{"a":"xy","b":[12,true]}'), [
    "{}",
    '{"a":""}',
    '{"a":"x"}',
    '{"a":"xy"}',
    '{"a":"xy"}',
    '{"a":"xy","b":[]}',
    '{"a":"xy","b":[12]}',
    '{"a":"xy","b":[12,true]}',
    '{"a":"xy","b":[12,true]}',
  ]);
  assert.deepEqual(stages('"\\u00e9\\ud83d\\ude00\\\\"').at(-1), JSON.stringify("é\u{1f600}\\"));
});

test("however the text is cut, the last value is the value, and no stage has half an escape or character", () => {
  const random = new Random(3);
  const escaped = JSON.stringify(VALUE, undefined, 1).replaceAll("\u{1f600}", "\\ud83d\\ude00");
  for (const text of [JSON.stringify(VALUE), escaped, "[]", '"x"', "{}"]) {
    for (let round = 0; round < 40; round++) {
      const json = new PartialJson();
      let last: unknown;
      for (let at = 0; at < text.length;) {
        const length = random.between(1, 7);
        const stage = json.push(text.slice(at, at + length));
        at += length;
        if (stage === undefined) continue;
        last = stage.value;
        assert.ok(JSON.stringify(last).isWellFormed());
        assert.ok(!JSON.stringify(last).includes("\\ud83d"), "half a pair");
      }
      assert.deepEqual(last, JSON.parse(text));
    }
  }
});

test("a snapshot stays what it was", () => {
  const json = new PartialJson();
  const first = json.push('{"list":[1,2')?.value;
  const second = json.push(',3],"more":{"x":1}}')?.value;
  assert.deepEqual(first, { list: [1] });
  assert.deepEqual(second, { list: [1, 2, 3], more: { x: 1 } });
});
