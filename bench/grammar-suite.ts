/**
 * `npm run bench -- grammar-suite`: the JSON Schema Test Suite (../shared) by @mlc-ai/web-xgrammar, with the very texts of
 * check:grammar, which prints the same table for Millrace. A token is a byte, so that nothing but its grammars is judged.
 */
import path from "node:path";
import { corruptions, type Group, serialisations, suiteGroups } from "../checks/grammar-suite.ts";
import { openXgrammar, type Xgrammar, type XgrammarMatcher } from "./contenders/web-xgrammar.ts";

const SUITE = path.resolve(import.meta.dirname, "../../shared/data/json-schema-test-suite");
const END = 256;

interface Row {
  schemas: number;
  compiled: number;
  texts: number;
  /** Schemas of which an invalid instance was accepted, of which a text that is no JSON, or repeats a key, was. */
  over: number;
  broken: number;
  /** Schemas of which a valid instance was accepted in no serialisation. */
  under: number;
}

export async function benchGrammarSuite(): Promise<void> {
  const open = (): ReturnType<typeof openXgrammar> =>
    openXgrammar({
      vocabSize: END + 1,
      stopIds: new Set([END]),
      tokenBytes: (id) => (id < END ? Uint8Array.of(id) : new TextEncoder().encode("</s>")),
    });
  let peer = await open();
  if (peer === undefined) {
    console.log("web-xgrammar isn't installed: npm ci in bench/");
    return;
  }
  console.log(
    "web-xgrammar 0.1.27  schemas  compiled   texts  over-accepting  accepting broken texts  under-accepting",
  );
  for (const draft of ["7", "2020-12"]) {
    const row: Row = { schemas: 0, compiled: 0, texts: 0, over: 0, broken: 0, under: 0 };
    for (const { group } of suiteGroups(path.join(SUITE, `draft${draft}`))) {
      row.schemas += 1;
      try {
        if (peer !== undefined) await judge(peer, group, row);
      } catch {
        // What it refuses aborts the whole of the WebAssembly module: the next schema needs another.
        peer = await open();
      }
    }
    const numbers = [row.schemas, row.compiled, row.texts, row.over, row.broken, row.under];
    const widths = [7, 9, 7, 15, 23, 16];
    const cells = numbers.map((number, i) => String(number).padStart(widths[i] ?? 8));
    console.log(`draft ${draft.padEnd(14)} ${cells.join(" ")}`);
  }
}

/** Throws where the schema, or a text, is refused by an abort. */
async function judge(peer: Xgrammar, { schema, tests }: Group, row: Row): Promise<void> {
  const matcher: XgrammarMatcher = await peer.compile(JSON.stringify(schema));
  row.compiled += 1;
  const accepts = (text: string): boolean => {
    row.texts += 1;
    matcher.reset();
    return [...new TextEncoder().encode(text), END].every((byte) => matcher.accept(byte));
  };
  let [over, broken, under] = [false, false, false];
  for (const { data, valid } of tests) {
    const accepted = serialisations(data).map(accepts);
    if (valid) under ||= !accepted.includes(true);
    else over ||= accepted.includes(true);
    broken = corruptions(data).map(accepts).includes(true) || broken;
  }
  row.over += Number(over);
  row.broken += Number(broken);
  row.under += Number(under);
  matcher.dispose();
}
