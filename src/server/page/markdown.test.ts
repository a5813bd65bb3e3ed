import assert from "node:assert/strict";
import { test } from "node:test";

import { type Block, parseMarkdown, parseSpans, type Span } from "./markdown.ts";

/** Blocks in a short notation: "h2(…) p(a [strong b]) ul(…)". */
function shape(blocks: readonly Block[]): string {
  const spans = (list: readonly Span[]): string =>
    list
      .map((one) => {
        if (one.type === "text") return one.text;
        if (one.type === "code") return `[code ${one.text}]`;
        if (one.type === "break") return "[break]";
        return `[${one.type}${one.type === "link" ? ` ${one.href}` : ""} ${spans(one.spans)}]`;
      })
      .join("");
  return blocks
    .map((block) => {
      if (block.type === "heading") return `h${block.level}(${spans(block.spans)})`;
      if (block.type === "paragraph") return `p(${spans(block.spans)})`;
      if (block.type === "code") return `code:${block.language}(${block.text})`;
      if (block.type === "quote") return `quote(${shape(block.blocks)})`;
      if (block.type === "rule") return "rule";
      if (block.type === "list")
        return `${block.ordered ? `ol${block.start}` : "ul"}(${block.items.map((item) => shape(item)).join(" | ")})`;
      return `table(${[block.head, ...block.rows].map((row) => row.map(spans).join(", ")).join(" / ")})`;
    })
    .join(" ");
}

test("blocks", () => {
  const cases: readonly [string, string][] = [
    ["# One\n\ntwo\nlines\n\n---", "h1(One) p(two\nlines) rule"],
    ["- a\n- b\n  - c\n- d", "ul(p(a) | p(b) ul(p(c)) | p(d))"],
    ["3. a\n4. b", "ol3(p(a) | p(b))"],
    ["1. a\n\n   more\n\n2. b", "ol1(p(a) p(more) | p(b))"],
    ["In the year\n1984. it was", "p(In the year\n1984. it was)"],
    ["```js\nlet a = 1;\n\n# no heading\n```\nafter", "code:js(let a = 1;\n\n# no heading) p(after)"],
    ["```\nstill open", "code:(still open)"],
    ["> a\n> > b", "quote(p(a) quote(p(b)))"],
    ["| a | b |\n|---|:-:|\n| 1 | **2** |", "table(a, b / 1, [strong 2])"],
    ["- item\n```\ncode\n```", "ul(p(item)) code:(code)"],
    ["a\n* b", "p(a) ul(p(b))"],
    ["", ""],
  ];
  for (const [text, expected] of cases) assert.equal(shape(parseMarkdown(text)), expected, text);
});

test("spans", () => {
  const cases: readonly [string, string][] = [
    ["a **b *c* d** e", "p(a [strong b [em c] d] e)"],
    ["`**x**` and ``a`b``", "p([code **x**] and [code a`b])"],
    ["snake_case_name and 2 * 3 * 4", "p(snake_case_name and 2 * 3 * 4)"],
    [
      '[text](https://a.example/x "title") https://b.example/y.',
      "p([link https://a.example/x text] [link https://b.example/y https://b.example/y].)",
    ],
    ["\\*no\\*", "p(*no*)"],
    ["one  \ntwo", "p(one[break]two)"],
    ["**open and *half", "p(**open and *half)"],
  ];
  for (const [text, expected] of cases) assert.equal(shape(parseMarkdown(text)), expected, text);
});

test("no scheme but the web's becomes a link", () => {
  for (const href of [
    "javascript:alert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "//evil.example",
    "JaVaScRiPt:x",
  ]) {
    const found = parseSpans(`[x](${href})`);
    assert.ok(
      found.every(({ type }) => type !== "link"),
      href,
    );
  }
});

test("long and hostile texts end soon, and lose nothing but marks", () => {
  for (const part of ["**", "*a ", "[", "`", "_x", "> ", "- ", "|", "~~", "[a](", "\\", "1. ", "#"]) {
    const text = part.repeat(3000);
    assert.ok(shape(parseMarkdown(text)).length > 0 || text.trim() === "");
  }
  assert.match(shape(parseMarkdown("plain <script>alert(1)</script>")), /^p\(plain <script>/);
});
