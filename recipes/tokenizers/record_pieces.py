"""Records what Hugging Face `tokenizers` (WordPiece, Unigram) and tiktoken (Tekken) make of random Unicode strings.

Writes test/fixtures/tokenizers/pieces.json.gz: tokenizers of some 1,000 tokens, trained here, as complete tokenizer.json
objects (or GGUF metadata, or tekken.json), with the ids of some hundred strings each, and of 10,000 strings a hash of the
ids of every ten. The RWKV case is greedy by definition: its ids come from the loop below.

    node recipes/tokenizers/strings.ts > /tmp/strings.jsonl
    python recipes/tokenizers/record_pieces.py /tmp/strings.jsonl test/fixtures/tokenizers

String i is encoded with special tokens parsed where i is odd, else as plain text. Needs tokenizers, sentencepiece
(whose NMT_NFKC table is what T5 and XLM-R carry) and tiktoken.
"""

import base64
import io
import json
import os
import struct
import sys
from collections import Counter

import sentencepiece
import tiktoken
import tokenizers
from record import TEKKEN, encode_all, fnv, metaspace, sequence, split, write
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

FULL = 300  # strings whose ids are kept
CORPUS = 4000
BLOCK = 10  # strings under one hash
ALPHABET = 250  # characters of a Unigram vocabulary: the others are unknown to it


def hashed(all_ids):
    blocks = [all_ids[i : i + BLOCK] for i in range(0, len(all_ids), BLOCK)]
    hashes = [fnv([id for ids in block for id in ids]) for block in blocks]
    return base64.b64encode(struct.pack("<%dI" % len(hashes), *hashes)).decode()


def charsmap():
    """SentencePiece's table of the NMT_NFKC normalisation, as any model carries it."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a tokenizer of a few words", "is trained for its normaliser alone"] * 20),
        model_writer=model,
        vocab_size=40,
        model_type="unigram",
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    return base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()


def added_token(id, content, **flags):
    return {
        "id": id,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
        **flags,
    }


def template(first, last):
    """A post-processor that puts one token before a text and one behind."""
    pieces = [{"SpecialToken": {"id": first[0], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    return {
        "type": "TemplateProcessing",
        "single": [*pieces, {"SpecialToken": {"id": last[0], "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {t: {"id": t, "ids": [id], "tokens": [t]} for t, id in (first, last)},
    }


def finish(name, saved, strings):
    tokenizer = Tokenizer.from_str(json.dumps(saved))
    all_ids = encode_all(tokenizer, strings)
    kept = range(CORPUS, CORPUS + FULL)
    print(name, tokenizer.get_vocab_size(), file=sys.stderr)
    return {
        "name": name,
        "tokenizer": saved,
        "ids": [all_ids[i] for i in kept],
        "decoded": [tokenizer.decode(all_ids[i], skip_special_tokens=True) for i in kept],
        "with_special": tokenizer.encode("Hello World", add_special_tokens=True).ids,
        "hashes": hashed(all_ids),
    }


# --- WordPiece ---------------------------------------------------------------------------------------------------

BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def bert_normalizer(**flags):
    return {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
        **flags,
    }


def word_piece(name, normalizer, post_processor, strings, longest=100):
    model = models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=longest)
    empty = json.loads(Tokenizer(model).to_str())
    empty.update(normalizer=normalizer, pre_tokenizer={"type": "BertPreTokenizer"})
    base = Tokenizer.from_str(json.dumps(empty))
    base.train_from_iterator(
        strings[:CORPUS],
        trainers.WordPieceTrainer(
            vocab_size=1500, special_tokens=BERT_SPECIALS, limit_alphabet=300, show_progress=False
        ),
    )
    saved = json.loads(base.to_str())
    saved["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    saved["post_processor"] = post_processor
    return finish(name, saved, strings)


BERT_PROCESSING = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}


def word_pieces(strings):
    return [
        word_piece("bert-uncased", bert_normalizer(), template(("[CLS]", 2), ("[SEP]", 3)), strings),
        word_piece("bert-cased", bert_normalizer(lowercase=False), BERT_PROCESSING, strings, 20),
        word_piece(
            "bert-accents",
            bert_normalizer(lowercase=False, strip_accents=True, handle_chinese_chars=False, clean_text=False),
            BERT_PROCESSING,
            strings,
        ),
        word_piece("bert-keeps-accents", bert_normalizer(strip_accents=False), BERT_PROCESSING, strings),
    ]


# --- Unigram -----------------------------------------------------------------------------------------------------

UNIGRAM_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
SPACES = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}


def metaspace_decoder(scheme):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": True}


def with_common_characters(strings):
    """Without "<", so that no piece is a second token of a special token's text."""
    counts = Counter("".join(strings))
    common = {char for char, _ in counts.most_common(ALPHABET)} - {"<"}
    return ["".join(char for char in text if char in common) for text in strings]


def unigram(name, normalizer, pre_tokenizer, decoder, strings, byte_fallback=False):
    empty = json.loads(Tokenizer(models.Unigram()).to_str())
    empty.update(normalizer=normalizer, pre_tokenizer=pre_tokenizer)
    base = Tokenizer.from_str(json.dumps(empty))
    specials = UNIGRAM_SPECIALS + ["<0x%02X>" % byte for byte in range(256)] * byte_fallback
    base.train_from_iterator(
        with_common_characters(strings[:CORPUS]),
        trainers.UnigramTrainer(
            vocab_size=1200, special_tokens=specials, unk_token="<unk>", show_progress=False, max_piece_length=12
        ),
    )
    saved = json.loads(base.to_str())
    saved["model"]["byte_fallback"] = byte_fallback
    saved["added_tokens"] = [added_token(i, text) for i, text in enumerate(UNIGRAM_SPECIALS)]
    saved["decoder"] = decoder
    saved["post_processor"] = {
        "type": "RobertaProcessing",
        "sep": ["</s>", 2],
        "cls": ["<s>", 0],
        "trim_offsets": True,
        "add_prefix_space": True,
    }
    return finish(name, saved, strings)


def unigrams(strings):
    precompiled = {"type": "Precompiled", "precompiled_charsmap": charsmap()}
    lower = {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]}
    always = metaspace("always", True)
    return [
        unigram(
            "xlm-roberta",
            {"type": "Sequence", "normalizers": [precompiled, SPACES]},
            sequence({"type": "WhitespaceSplit"}, always),
            metaspace_decoder("always"),
            strings,
        ),
        unigram("albert", lower, always, metaspace_decoder("always"), strings),
        unigram("unigram-whole", None, metaspace("first", False), metaspace_decoder("first"), strings),
        unigram(
            "unigram-bytes",
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            None,
            {
                "type": "Sequence",
                "decoders": [
                    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                    {"type": "ByteFallback"},
                    {"type": "Fuse"},
                ],
            },
            strings,
            byte_fallback=True,
        ),
    ]


# --- by bytes ----------------------------------------------------------------------------------------------------


def trained_bytes(strings, size):
    """Byte strings in order of rank: all bytes, then what a byte-level BPE merges."""
    base = Tokenizer(models.BPE())
    empty = json.loads(base.to_str())
    empty["pre_tokenizer"] = sequence(split(TEKKEN), {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False, "trim_offsets": True})
    base = Tokenizer.from_str(json.dumps(empty))
    base.train_from_iterator(
        strings[:CORPUS],
        trainers.BpeTrainer(
            vocab_size=size, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    kept = [b for b in range(256) if chr(b).isprintable() and b not in (32, 160, 173)]
    others = [b for b in range(256) if b not in kept]
    byte_of = {chr(b): b for b in kept} | {chr(256 + i): b for i, b in enumerate(others)}
    vocab = sorted(base.get_vocab().items(), key=lambda item: item[1])
    return [bytes(byte_of[char] for char in text) for text, _ in vocab]


def rwkv(strings):
    """Greedy: the longest token that fits, again and again. Id 0 is the end of text; tokens are written as in a GGUF."""
    tokens = trained_bytes(strings, 1200)
    ids = {token: i + 1 for i, token in enumerate(tokens)}
    longest = max(map(len, tokens))

    def encode(text):
        data = text.encode("utf8", "replace")
        out = []
        at = 0
        while at < len(data):
            length = next(n for n in range(min(longest, len(data) - at), 0, -1) if data[at : at + n] in ids)
            out.append(ids[data[at : at + length]])
            at += length
        return out

    all_ids = [encode(text) for text in strings]
    metadata = {
        "tokenizer.ggml.model": "rwkv",
        "tokenizer.ggml.tokens": ["<s>"] + [repr(token)[2:-1] for token in tokens],
        "tokenizer.ggml.token_type": [3] + [1] * len(tokens),
    }
    return {
        "name": "rwkv",
        "gguf": metadata,
        "ids": all_ids[CORPUS : CORPUS + FULL],
        "decoded": strings[CORPUS : CORPUS + FULL],
        "hashes": hashed(all_ids),
    }


def tekken(strings):
    tokens = trained_bytes(strings, 1000)
    specials = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    encoding = tiktoken.Encoding(
        "tekken", pat_str=TEKKEN, mergeable_ranks={token: i for i, token in enumerate(tokens)}, special_tokens={}
    )
    all_ids = [[i + len(specials) for i in encoding.encode(text, disallowed_special=())] for text in strings]
    document = {
        "config": {
            "pattern": TEKKEN,
            "num_vocab_tokens": len(tokens),
            "default_vocab_size": len(tokens) + len(specials),
            "default_num_special_tokens": len(specials),
            "version": "v7",
        },
        "vocab": [
            {"rank": i, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
            for i, token in enumerate(tokens)
        ],
        "special_tokens": [
            {"rank": i, "token_str": text, "is_control": True} for i, text in enumerate(specials)
        ],
    }
    return {
        "name": "tekken",
        "tekken": document,
        "ids": all_ids[CORPUS : CORPUS + FULL],
        "decoded": strings[CORPUS : CORPUS + FULL],
        "hashes": hashed(all_ids),
    }


def main():
    with open(sys.argv[1], encoding="utf8") as file:
        strings = [json.loads(line) for line in file]
    made_with = f"tokenizers {tokenizers.__version__}, tiktoken {tiktoken.__version__}"
    cases = [*word_pieces(strings), *unigrams(strings), rwkv(strings), tekken(strings)]
    texts = strings[CORPUS : CORPUS + FULL]
    path = os.path.join(sys.argv[2], "pieces.json.gz")
    write(path, {"made_with": made_with, "seed": 1, "count": len(strings), "block": BLOCK, "texts": texts, "tokenizers": cases})


if __name__ == "__main__":
    main()
