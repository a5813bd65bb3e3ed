/**
 * RWKV's tokenizer (Peng et al. 2023, the World models): at every place the longest token that fits the bytes, whatever
 * comes behind. Its vocabulary has all single bytes; one that lacks some drops those bytes.
 */
import { type ByteAlphabet, fromByteChars } from "./byte-alphabet.ts";
import type { PieceEncoder } from "./piece-encoder.ts";
import type { TokenizerSpec } from "./spec.ts";
import { UnitTrie } from "./unit-trie.ts";

export function createGreedyModel(
  texts: TokenizerSpec["texts"],
  idOf: (text: string) => number | undefined,
  alphabet: ByteAlphabet,
): PieceEncoder {
  const trie = new UnitTrie();
  texts.forEach((text, id) => {
    const bytes = text === undefined || idOf(text) !== id ? undefined : fromByteChars(text, alphabet);
    if (bytes !== undefined && bytes.length > 0) trie.add(bytes, id);
  });
  const utf8 = new TextEncoder();
  return {
    encode(text, start, end, out) {
      const bytes = utf8.encode(text.slice(start, end));
      for (let at = 0; at < bytes.length;) {
        let token = -1;
        let behind = at + 1;
        let node = trie.child(0, bytes[at] ?? 0);
        for (let next = at + 1; node !== 0; next++) {
          if (trie.token(node) >= 0) [token, behind] = [trie.token(node), next];
          node = next < bytes.length ? trie.child(node, bytes[next] ?? 0) : 0;
        }
        if (token >= 0) out.push(token);
        at = behind;
      }
    },
  };
}
