/** Blocks of markdown → elements. What a model writes is only ever text in them. */
import { h } from "./dom.ts";
import { type Block, parseMarkdown, type Span } from "./markdown.ts";

export function renderMarkdown(text: string): HTMLElement[] {
  return parseMarkdown(text).map(element);
}

function element(block: Block): HTMLElement {
  switch (block.type) {
    case "heading":
      // The page's own heading is the first level.
      return h(block.level <= 1 ? "h2" : block.level === 2 ? "h3" : "h4", {}, ...block.spans.map(span));
    case "paragraph":
      return h("p", {}, ...block.spans.map(span));
    case "code":
      return codeBlock(block.language, block.text);
    case "quote":
      return h("blockquote", {}, ...block.blocks.map(element));
    case "list": {
      const items = block.items.map((item) => h("li", {}, ...itemChildren(item)));
      return block.ordered ? h("ol", { start: block.start }, ...items) : h("ul", {}, ...items);
    }
    case "table": {
      const cells = (row: readonly (readonly Span[])[], tag: "th" | "td"): HTMLElement =>
        h("tr", {}, ...row.map((cell) => h(tag, tag === "th" ? { scope: "col" } : {}, ...cell.map(span))));
      const body = block.rows.map((row) => cells(row, "td"));
      const table = h("table", {}, h("thead", {}, cells(block.head, "th")), h("tbody", {}, ...body));
      return h("div", { class: "table" }, table);
    }
    case "rule":
      return h("hr");
    default:
      return block satisfies never;
  }
}

/** A tight list's items are their text, without a paragraph around it. */
function itemChildren(blocks: readonly Block[]): Node[] {
  const [first, ...rest] = blocks;
  if (first?.type === "paragraph") return [...first.spans.map(span), ...rest.map(element)];
  return blocks.map(element);
}

function codeBlock(language: string, text: string): HTMLElement {
  const copy = h("button", { type: "button", class: "quiet" }, "Copy");
  copy.addEventListener("click", () => {
    void navigator.clipboard.writeText(text).then(
      () => (copy.textContent = "Copied"),
      () => (copy.textContent = "Can't copy"),
    );
  });
  const code = h("pre", { tabindex: 0 }, h("code", {}, text));
  return h("figure", {}, h("figcaption", {}, h("span", {}, language === "" ? "text" : language), copy), code);
}

function span(one: Span): Node {
  switch (one.type) {
    case "text":
      return document.createTextNode(one.text);
    case "code":
      return h("code", {}, one.text);
    case "strong":
    case "em":
    case "del":
      return h(one.type, {}, ...one.spans.map(span));
    case "link":
      return h("a", { href: one.href, target: "_blank", rel: "noopener noreferrer" }, ...one.spans.map(span));
    case "break":
      return h("br");
    default:
      return one satisfies never;
  }
}
