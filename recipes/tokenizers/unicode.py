"""Writes src/tokenizer/unicode-table.ts: the Unicode classes as Hugging Face `tokenizers` 0.23.2 sees them.

Three Unicode versions meet in that library: its regex engine (Oniguruma) knows 16.0, its digit test 17.0 and its
punctuation test 8.0. A JavaScript engine's own \\p{..} differs from all of them and from one release of Node to the
next, so the classes are asked of the library itself and baked in.

    node recipes/tokenizers/normalization.ts > /tmp/normalization.json
    python recipes/tokenizers/unicode.py /tmp/normalization.json > src/tokenizer/unicode-table.ts
"""
import json
import sys

from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ!#"  # one for each category; "$" for unassigned code points and surrogates
POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
TEXT = "".join(map(chr, POINTS))


def matched(pattern):
    """All code points that a regex class contains."""
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    return [POINTS[i] for _, (a, b) in split.pre_tokenize_str(TEXT) for i in range(a, b)]


def isolated(pre_tokenizer):
    """All code points that stand alone between two letters."""
    text = "".join("a" + chr(c) for c in POINTS) + "a"
    return [POINTS[a // 2] for _, (a, b) in pre_tokenizer.pre_tokenize_str(text) if b - a == 1 and a % 2 == 1]


def rust_words():
    """What \\w means in Rust's regex crate: the members that the Whitespace pre-tokenizer leaves attached to letters."""
    text = "".join("a" + chr(c) + " " for c in POINTS)
    return [POINTS[a // 3] for _, (a, b) in pre_tokenizers.Whitespace().pre_tokenize_str(text) if b - a == 2 and a % 3 == 0]


def not_normalized(path):
    """The code points that Unicode normalises today and the library, whose tables are of Unicode 9.0, leaves alone."""
    known = json.load(open(path))
    nfd, nfkd = normalizers.NFD().normalize_str, normalizers.NFKD().normalize_str
    new = {c for c in known["moving"] if nfd("\u0315" + chr(c)) == "\u0315" + chr(c) and nfd(chr(c) + "\u0301") == chr(c) + "\u0301"}
    new |= {c for c in known["compatible"] if nfkd(chr(c)) == chr(c)}
    old_parts = {part for c, parts in known["composites"] if c not in new for part in parts}
    new |= {part for c, parts in known["composites"] if c in new for part in parts if part not in old_parts}
    return new


def base36(n):
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return (base36(n // 36) if n >= 36 else "") + digits[n % 36]


def runs(letters):
    """Run lengths in base 36 (nothing for 1), each before its letter."""
    out, i = [], 0
    while i < len(letters):
        j = i
        while j < len(letters) and letters[j] == letters[i]:
            j += 1
        out.append((base36(j - i) if j - i > 1 else "") + letters[i])
        i = j
    return "".join(out)


def members(points):
    inside = ["N"] * 0x110000
    for c in points:
        inside[c] = "Y"
    return runs(inside)


def main():
    letters = ["$"] * 0x110000
    for category, letter in zip(CATEGORIES, LETTERS):
        for c in matched(r"\p{%s}" % category):
            letters[c] = letter
    print("/**")
    print(" * Unicode classes as Hugging Face `tokenizers` sees them; written by recipes/tokenizers/unicode.py, which says why.")
    print(" * Run lengths in base 36 (nothing for 1), each before its class. Unicode data: © Unicode, Inc.; Unicode License v3.")
    print(" */")
    print("/** The category that each letter of GENERAL_CATEGORIES stands for; `$` is unassigned. */")
    print("export const CATEGORY_LETTERS: Readonly<Record<string, string>> = {")
    for category, letter in zip(CATEGORIES, LETTERS):
        print('  "%s": "%s",' % (letter, category))
    print("};")
    print("/** General categories of Unicode 16.0: what \\p{..} means in a pattern. */")
    print('export const GENERAL_CATEGORIES =\n  "%s";' % runs(letters))
    plain = set(c for c in POINTS if letters[c] in [LETTERS[CATEGORIES.index(k)] for k in "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl Pc".split()])
    print("/** What \\\\w in a pattern matches beside L, M, Nd, Nl and Pc. */")
    print('export const WORD_MORE =\n  "%s";' % members(set(matched(r"\w")) - plain))
    print("/** What \\\\w means to Rust (the Whitespace pre-tokenizer, `single_word`) beside those; Unicode 16.0 or later. */")
    print('export const RUST_WORD_MORE =\n  "%s";' % members(set(rust_words()) - plain))
    assert plain <= set(matched(r"\w")) and plain <= set(rust_words())
    print("/** What the Digits pre-tokenizer splits at (Unicode 17.0); Y inside, N outside. */")
    print('export const DIGITS =\n  "%s";' % members(isolated(pre_tokenizers.Digits(individual_digits=True))))
    print("/** What normalisation leaves alone, as it did in Unicode 9.0, though later versions don't. */")
    print('export const NOT_NORMALIZED =\n  "%s";' % members(not_normalized(sys.argv[1])))
    print("/** What the Punctuation pre-tokenizer splits at (ASCII punctuation and Unicode 8.0's). */")
    print('export const PUNCTUATION =\n  "%s";' % members(isolated(pre_tokenizers.Punctuation("isolated"))))


if __name__ == "__main__":
    main()
