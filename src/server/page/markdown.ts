/**
 * Markdown as models write it → blocks and spans: headings, paragraphs, lists, quotes, fences, tables, rules; code, strong,
 * emphasis, links. Written for text that is still growing: an open fence is a fence. `markdown-view.ts` makes elements of it.
 */
export type Span =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "code"; readonly text: string }
  | { readonly type: "strong" | "em" | "del"; readonly spans: readonly Span[] }
  | { readonly type: "link"; readonly href: string; readonly spans: readonly Span[] }
  | { readonly type: "break" };

export type Block =
  | { readonly type: "heading"; readonly level: number; readonly spans: readonly Span[] }
  | { readonly type: "paragraph"; readonly spans: readonly Span[] }
  | { readonly type: "code"; readonly language: string; readonly text: string }
  | {
      readonly type: "list";
      readonly ordered: boolean;
      readonly start: number;
      readonly items: readonly (readonly Block[])[];
    }
  | { readonly type: "quote"; readonly blocks: readonly Block[] }
  | {
      readonly type: "table";
      readonly head: readonly (readonly Span[])[];
      readonly rows: readonly (readonly (readonly Span[])[])[];
    }
  | { readonly type: "rule" };

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`\s]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*$/;
const RULE = /^ {0,3}(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?: +|$)/;
const QUOTE = /^ {0,3}> ?/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
/** Quotes and lists within each other; a model that writes more gets text. */
const MAX_DEPTH = 8;

export function parseMarkdown(text: string): Block[] {
  return parseBlocks(text.replaceAll("\r\n", "\n").split("\n"), 0);
}

function parseBlocks(lines: readonly string[], depth: number): Block[] {
  const blocks: Block[] = [];
  let paragraph: string[] = [];
  const flush = (): void => {
    if (paragraph.length > 0) blocks.push({ type: "paragraph", spans: parseSpans(paragraph.join("\n")) });
    paragraph = [];
  };
  for (let i = 0; i < lines.length;) {
    const line = lines[i] ?? "";
    const found = depth < MAX_DEPTH ? blockAt(lines, i, depth, paragraph.length > 0) : undefined;
    if (found !== undefined) {
      flush();
      blocks.push(found.block);
      i = found.next;
      continue;
    }
    if (line.trim() === "") flush();
    else paragraph.push(line);
    i += 1;
  }
  flush();
  return blocks;
}

/** A block other than a paragraph that begins at line `i`, and the line behind it. */
function blockAt(
  lines: readonly string[],
  i: number,
  depth: number,
  inParagraph: boolean,
): { readonly block: Block; readonly next: number } | undefined {
  const line = lines[i] ?? "";
  const fence = FENCE.exec(line);
  if (fence !== null) {
    const [, mark = "", language = ""] = fence;
    const closes = (text: string): boolean =>
      text.trim().startsWith(mark) && text.trim().replaceAll(mark.charAt(0), "") === "";
    let end = i + 1;
    while (end < lines.length && !closes(lines[end] ?? "")) end += 1;
    return { block: { type: "code", language, text: lines.slice(i + 1, end).join("\n") }, next: end + 1 };
  }
  const heading = HEADING.exec(line);
  if (heading !== null) {
    const [, marks = "", text = ""] = heading;
    return { block: { type: "heading", level: marks.length, spans: parseSpans(text) }, next: i + 1 };
  }
  if (RULE.test(line)) return { block: { type: "rule" }, next: i + 1 };
  if (QUOTE.test(line)) {
    let end = i;
    while (end < lines.length && QUOTE.test(lines[end] ?? "")) end += 1;
    const inner = lines.slice(i, end).map((each) => each.replace(QUOTE, ""));
    return { block: { type: "quote", blocks: parseBlocks(inner, depth + 1) }, next: end };
  }
  const item = ITEM.exec(line);
  // A paragraph's line may begin with a year; only "1." interrupts it.
  if (item !== null && !(inParagraph && /^\d/.test(item[2] ?? "") && !/^1[.)]/.test(item[2] ?? ""))) {
    return listAt(lines, i, depth);
  }
  if (line.includes("|") && TABLE_RULE.test(lines[i + 1] ?? "") && (lines[i + 1] ?? "").includes("-")) {
    let end = i + 2;
    while (end < lines.length && (lines[end] ?? "").includes("|")) end += 1;
    const rows = lines.slice(i + 2, end).map(cells);
    return { block: { type: "table", head: cells(line), rows }, next: end };
  }
  return undefined;
}

function listAt(
  lines: readonly string[],
  first: number,
  depth: number,
): { readonly block: Block; readonly next: number } {
  const marker = (line: string): RegExpExecArray | null => ITEM.exec(line);
  const [, indent = "", mark = ""] = marker(lines[first] ?? "") ?? [];
  const ordered = /^\d/.test(mark);
  const items: Block[][] = [];
  let i = first;
  for (;;) {
    const found = marker(lines[i] ?? "");
    if (found === null || (found[1] ?? "").length > indent.length + 3 || /^\d/.test(found[2] ?? "") !== ordered) break;
    if ((found[1] ?? "").length < indent.length) break;
    const width = found[0].length;
    const own = [(lines[i] ?? "").slice(width)];
    i += 1;
    for (; i < lines.length; i++) {
      const line = lines[i] ?? "";
      const spaces = line.length - line.trimStart().length;
      const next = marker(line);
      if (line.trim() === "") {
        // An empty line belongs to the item where what follows is indented.
        const after = lines[i + 1] ?? "";
        if (after.trim() === "" || !/^ {2,}/.test(after)) break;
        own.push("");
      } else if (next !== null && spaces < indent.length + 2) break;
      else if (spaces >= 2) own.push(line.slice(Math.min(spaces, Math.max(2, width))));
      else if (own.at(-1) === "" || FENCE.test(line) || HEADING.test(line) || QUOTE.test(line)) break;
      else own.push(line);
    }
    items.push(parseBlocks(own, depth + 1));
    // One empty line between items doesn't end the list.
    if ((lines[i] ?? "").trim() === "" && marker(lines[i + 1] ?? "") !== null) i += 1;
  }
  return { block: { type: "list", ordered, start: ordered ? Number.parseInt(mark, 10) : 1, items }, next: i };
}

function cells(line: string): Span[][] {
  const trimmed = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return trimmed.split(/(?<!\\)\|/).map((cell) => parseSpans(cell.trim().replaceAll("\\|", "|")));
}

const SPAN =
  /(`+)(.+?)\1(?!`)|\*\*(?=\S)([^*]+(?:\*[^*]+)*?)\*\*|__(?=\S)(.+?)__(?!\w)|~~(?=\S)(.+?)~~|(?<!\*)\*(?=\S)([^*]*[^*\s])\*(?!\*)|(?<!\w)_(?=\S)([^_]+?)_(?!\w)|\[([^\]]+)\]\((\S+?)(?:\s+"[^"]*")?\)|(https?:\/\/[^\s<>()]+[^\s<>().,;:!?'"])|\\([\\`*_{}[\]()#+\-.!~|>])|( {2,}|\\)\n/s;

/** Links go to the web alone: no other scheme becomes one. */
export function parseSpans(text: string, depth = 0): Span[] {
  const spans: Span[] = [];
  let rest = text;
  const plain = (part: string): void => {
    if (part !== "") spans.push({ type: "text", text: part });
  };
  for (let match = depth < MAX_DEPTH ? SPAN.exec(rest) : null; match !== null; match = SPAN.exec(rest)) {
    plain(rest.slice(0, match.index));
    const [all, , code, strong, strong2, del, em, em2, label, href, bare, escaped] = match;
    const inner = (part: string): Span[] => parseSpans(part, depth + 1);
    const bold = strong ?? strong2;
    const italic = em ?? em2;
    if (code !== undefined) spans.push({ type: "code", text: code.replace(/^ (.*\S.*) $/s, "$1") });
    else if (bold !== undefined) spans.push({ type: "strong", spans: inner(bold) });
    else if (del !== undefined) spans.push({ type: "del", spans: inner(del) });
    else if (italic !== undefined) spans.push({ type: "em", spans: inner(italic) });
    else if (label !== undefined && href !== undefined && /^https?:\/\//i.test(href))
      spans.push({ type: "link", href, spans: inner(label) });
    else if (bare !== undefined) spans.push({ type: "link", href: bare, spans: [{ type: "text", text: bare }] });
    else if (escaped !== undefined) plain(escaped);
    else if (all.endsWith("\n")) spans.push({ type: "break" });
    else plain(all);
    rest = rest.slice(match.index + all.length);
  }
  plain(rest);
  return spans;
}
