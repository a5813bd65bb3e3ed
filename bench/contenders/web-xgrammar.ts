/** @mlc-ai/web-xgrammar (xgrammar as wasm) behind two functions. Its package is UMD marked as ESM, so it is loaded from a copy. */
import { copyFileSync, existsSync, mkdtempSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";

export interface XgrammarMatcher {
  mask(): Promise<unknown>;
  accept(id: number): boolean;
  /** Back to the beginning. */
  reset(): void;
  dispose(): void;
}

export interface Xgrammar {
  /** By the schema's own word: objects that it leaves open are, and white space is free. */
  compile(schema: string): Promise<XgrammarMatcher>;
}

interface Matcher {
  getNextTokenBitmask(): Promise<Int32Array>;
  acceptToken(id: number): boolean;
  reset(): void;
  dispose(): void;
}

interface Compiler {
  compileJSONSchema(
    schema: string,
    anyWhitespace: boolean,
    indent: undefined,
    separators: undefined,
    strict: boolean,
  ): Promise<{ dispose(): void }>;
}

interface Library {
  TokenizerInfo: {
    createTokenizerInfo(
      vocab: string[],
      type: string,
      prependSpace: boolean,
      size: number,
      stop: number[],
    ): Promise<object>;
  };
  GrammarCompiler: {
    createGrammarCompiler(info: object): Promise<Compiler>;
  };
  GrammarMatcher: { createGrammarMatcher(grammar: object): Promise<Matcher> };
}

export async function openXgrammar(
  tokenizer: Pick<Tokenizer, "vocabSize" | "stopIds" | "tokenBytes">,
): Promise<Xgrammar | undefined> {
  const source = path.join(import.meta.dirname, "../node_modules/@mlc-ai/web-xgrammar/lib/index.js");
  if (!existsSync(source)) return undefined;
  const copy = path.join(mkdtempSync(path.join(tmpdir(), "millrace-xgrammar-")), "index.cjs");
  copyFileSync(source, copy);
  const library = createRequire(import.meta.url)(copy) as Library;
  // Byte tokens are given as <0xNN>, as its BYTE_FALLBACK vocabularies write them.
  const vocab = Array.from({ length: tokenizer.vocabSize }, (_, id) => {
    const bytes = tokenizer.tokenBytes(id, true);
    const text = new TextDecoder().decode(bytes);
    return text.includes("\ufffd") && bytes.length === 1
      ? `<0x${(bytes[0] ?? 0).toString(16).toUpperCase()}>`
      : text.replaceAll(" ", "▁");
  });
  const info = await library.TokenizerInfo.createTokenizerInfo(vocab, "byte_fallback", false, tokenizer.vocabSize, [
    ...tokenizer.stopIds,
  ]);
  const compiler = await library.GrammarCompiler.createGrammarCompiler(info);
  return {
    async compile(schema) {
      const compiled = await compiler.compileJSONSchema(schema, true, undefined, undefined, false);
      const matcher = await library.GrammarMatcher.createGrammarMatcher(compiled);
      return {
        mask: () => matcher.getNextTokenBitmask(),
        accept: (id) => matcher.acceptToken(id),
        reset: () => matcher.reset(),
        dispose() {
          matcher.dispose();
          compiled.dispose();
        },
      };
    },
  };
}
