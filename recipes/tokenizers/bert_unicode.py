"""Writes src/tokenizer/bert-table.ts: what the normalizers of BERT and ALBERT drop, asked of Hugging Face `tokenizers`
itself, as unicode.py does for the classes of patterns, and for the same reason.

    python recipes/tokenizers/bert_unicode.py > src/tokenizer/bert-table.ts
"""

from tokenizers import normalizers
from unicode import POINTS, members

OFF = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)


def dropped(normalizer):
    """Code points that vanish behind a letter."""
    return [c for c in POINTS if normalizer.normalize_str("a" + chr(c)) == "a"]


def table(comment, name, points):
    print(f"/** {comment} */")
    print(f'export const {name} =\n  "{members(points)}";')


def main():
    print("/**")
    print(" * Code points that BERT's normalizers drop; written by recipes/tokenizers/bert_unicode.py, which says why. Run lengths")
    print(" * in base 36 (nothing for 1), each before its class: Y inside, N outside. Unicode data: © Unicode, Inc.; Unicode")
    print(" * License v3.")
    print(" */")
    table("Dropped by BertNormalizer's clean_text.", "UNCLEAN", dropped(normalizers.BertNormalizer(**{**OFF, "clean_text": True})))
    table("Dropped by BertNormalizer's strip_accents, after NFD.", "BERT_ACCENTS", dropped(normalizers.BertNormalizer(**{**OFF, "strip_accents": True})))
    table("Dropped by StripAccents.", "ACCENTS", dropped(normalizers.StripAccents()))


if __name__ == "__main__":
    main()
