"""Records what Hugging Face `tokenizers` (Rust) makes of random Unicode strings; needs `pip install tokenizers`.

Two kinds of fixtures, written to test/fixtures/tokenizers/:
- small.json.gz: BPE tokenizers of some 1,000 tokens, trained here, one for each pre-tokenizer and normalizer in use,
  as complete tokenizer.json objects with the ids of some hundred strings each. They need no other file.
- full.json.gz: for each vocabulary of ../shared a hash of the ids of each of 10,000 strings. The tokenizer.json is
  built from the GGUF file with the pre-tokenizer that the model's makers published; test/check-tokenizers.ts builds
  the same.

    node recipes/tokenizers/strings.ts > /tmp/strings.jsonl
    python recipes/tokenizers/record.py /tmp/strings.jsonl test/fixtures/tokenizers

String i is encoded with special tokens parsed where i is odd, else as plain text; BOS and EOS are not added.
"""
import base64
import gzip
import json
import os
import struct
import sys

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = os.path.join(HERE, "..", "..", "..", "shared")

GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
DIGITS = {"type": "Digits", "individual_digits": True}
NFC = {"type": "NFC"}
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
QWEN35 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + r"+|[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+" + CONTRACTIONS + r"?|[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*" + CONTRACTIONS
    + r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BAILING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
SPM_NORMALIZER = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
SPM_DECODER = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
GEMMA_DECODER = {"type": "Sequence", "decoders": SPM_DECODER["decoders"][:3]}
BYTE_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(*stages):
    return {"type": "Sequence", "pretokenizers": list(stages)}


def metaspace(scheme, cut):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}


DEEPSEEK_CODER = sequence(split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(CJK), DIGITS, BYTES)
FALCON = sequence({"type": "Punctuation", "behavior": "Contiguous"}, GPT2, {"type": "Digits", "individual_digits": False}, split("[0-9][0-9][0-9]"))


def deepseek_letters():
    """DeepSeek's list of letters, from the table in src (the only long one; the rest of this file stands alone)."""
    source = open(os.path.join(HERE, "../../src/tokenizer/pre-tokenizer-names.ts"), encoding="utf8").read()
    return source.split("const DEEPSEEK_LETTERS")[1].split("`")[1]


DEEPSEEK_LLM = sequence(
    split("[\r\n]"), split(deepseek_letters()), split("\\s?[!-/:-~！-／：-～‘-‟　-。]+"), split(r"\s+$"), split(CJK), DIGITS, BYTES)


def encode_all(tokenizer, strings):
    """String i with special tokens parsed where i is odd."""
    out = []
    for i, text in enumerate(strings):
        tokenizer.encode_special_tokens = i % 2 == 0
        out.append(tokenizer.encode(text, add_special_tokens=False).ids)
    return out


def fnv(ids):
    value = 0x811C9DC5
    for byte in struct.pack("<%dI" % len(ids), *ids):
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


# --- full vocabularies -------------------------------------------------------------------------------------------


def read_gguf(path):
    """The metadata of a GGUF file."""
    data = open(path, "rb").read(32 << 20)
    at = 8

    def take(form):
        nonlocal at
        (value,) = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return value

    def text():
        nonlocal at
        length = take("Q")
        at += length
        return data[at - length : at].decode("utf8", "replace")

    scalars = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            inner, count = take("I"), take("Q")
            return [value(inner) for _ in range(count)]
        return take(scalars[kind])

    _, pairs = take("Q"), take("Q")
    return {text(): value(take("I")) for _ in range(pairs)}


def merges_from_scores(tokens, scores, types):
    """As transformers' convert_slow_tokenizer does for SentencePiece vocabularies."""
    vocab = {}
    for i, token in enumerate(tokens):
        vocab.setdefault(token, i)
    merges = []
    for i, token in enumerate(tokens):
        if types[i] != 1:
            continue
        local = []
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in vocab and right in vocab:
                local.append((left, right, scores[i]))
        merges.extend(sorted(local, key=lambda m: (vocab[m[0]], vocab[m[1]])))
    merges.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    return [[left, right] for left, right, _ in merges]


def full_tokenizer(path, normalizer, pre_tokenizer, ignore_merges=False):
    meta = read_gguf(path)
    tokens, types = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    spm = meta["tokenizer.ggml.model"] == "llama"
    vocab = {}
    for i, token in enumerate(tokens):
        vocab.setdefault(token, i)
    added = [
        {"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": types[i] == 4, "special": types[i] != 4}
        for i, token in enumerate(tokens) if types[i] in (2, 3, 4)
    ]
    merges = merges_from_scores(tokens, meta["tokenizer.ggml.scores"], types) if spm else [m.split(" ", 1) for m in meta["tokenizer.ggml.merges"]]
    return Tokenizer.from_str(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer, "post_processor": None, "decoder": SPM_DECODER if spm else BYTE_DECODER,
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>" if spm else None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": spm, "byte_fallback": spm, "ignore_merges": ignore_merges,
                  "vocab": vocab, "merges": merges}}))


def full(strings):
    data = os.path.join(SHARED, "data", "tokenizers")
    smollm = os.path.join(SHARED, "models", "smollm2-135m-instruct-q4_1.gguf")
    gpt2 = os.path.join(data, "gpt-2.gguf")
    cases = [
        ("gpt-2.gguf", "", gpt2, None, GPT2, False),
        ("falcon.gguf", "", os.path.join(data, "falcon.gguf"), None, FALCON, False),
        ("mpt.gguf", "", os.path.join(data, "mpt.gguf"), NFC, GPT2, False),
        ("refact.gguf", "", os.path.join(data, "refact.gguf"), None, sequence(DIGITS, GPT2), False),
        ("deepseek-coder.gguf", "", os.path.join(data, "deepseek-coder.gguf"), None, DEEPSEEK_CODER, False),
        ("smollm2-135m-instruct-q4_1.gguf", "", smollm, None, sequence(DIGITS, GPT2), False),
        ("llama-spm.gguf", "", os.path.join(data, "llama-spm.gguf"), SPM_NORMALIZER, None, False),
        # The same vocabulary under pre-tokenizers of other families: what they cut is what is tested.
        ("gpt-2.gguf", "llama-bpe", gpt2, None, sequence(split(LLAMA3), BYTES), True),
        ("gpt-2.gguf", "qwen2", gpt2, NFC, sequence(split(QWEN2), BYTES), False),
        ("gpt-2.gguf", "qwen35", gpt2, NFC, sequence(split(QWEN35), BYTES), False),
        ("gpt-2.gguf", "gpt-4o", gpt2, None, sequence(split(GPT4O), BYTES), False),
        ("gpt-2.gguf", "tekken", gpt2, None, sequence(split(TEKKEN), BYTES), True),
        ("gpt-2.gguf", "deepseek-v3", gpt2, None,
         sequence(split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(DEEPSEEK3), BYTES), False),
        ("gpt-2.gguf", "deepseek-llm", gpt2, None, DEEPSEEK_LLM, False),
    ]
    out = []
    for name, pre, path, normalizer, pre_tokenizer, ignore in cases:
        hashes = [fnv(ids) for ids in encode_all(full_tokenizer(path, normalizer, pre_tokenizer, ignore), strings)]
        out.append({"file": name, "pre": pre, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "ignore_merges": ignore,
                    "hashes": base64.b64encode(struct.pack("<%dI" % len(hashes), *hashes)).decode()})
        print(name, pre, len(hashes), file=sys.stderr)
    return out


# --- small tokenizers --------------------------------------------------------------------------------------------


def small(strings):
    corpus = strings[:4000]
    tests = strings[4000:4300]
    byte_level = [
        ("gpt2", None, GPT2, {}),
        ("gpt2-prefix-space", None, {**GPT2, "add_prefix_space": True}, {}),
        ("smollm", None, sequence(DIGITS, GPT2), {}),
        ("mpt", NFC, GPT2, {}),
        ("llama3", None, sequence(split(LLAMA3), BYTES), {"ignore_merges": True}),
        ("qwen2", NFC, sequence(split(QWEN2), BYTES), {}),
        ("qwen35", NFC, sequence(split(QWEN35), BYTES), {}),
        ("gpt-4o", None, sequence(split(GPT4O), BYTES), {}),
        ("tekken", None, sequence(split(TEKKEN), BYTES), {"ignore_merges": True}),
        ("bailing", None, sequence(split(BAILING), BYTES), {}),
        ("deepseek-coder", None, DEEPSEEK_CODER, {}),
        ("deepseek-llm", None, DEEPSEEK_LLM, {}),
        ("falcon", None, FALCON, {}),
        ("kimi", None, sequence(split(r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), BYTES), {}),
        ("behaviours", None, sequence(
            split("z", "Removed"), split("[aeiou]", "MergedWithPrevious"), split("[0-9]", "MergedWithNext"), split("[A-Z]", "Contiguous"),
            split(r"\s+", "Isolated", True), {"type": "Split", "pattern": {"String": "th"}, "behavior": "MergedWithNext", "invert": True}, GPT2), {}),
        ("whitespace", {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True}]},
         sequence({"type": "Whitespace"}, BYTES), {}),
        ("whitespace-split", {"type": "NFD"}, sequence({"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Isolated"}, BYTES), {}),
    ]
    pieces = [
        ("llama2", SPM_NORMALIZER, None, SPM_DECODER, {"byte_fallback": True, "fuse_unk": True}),
        ("gemma", {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
         {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}, GEMMA_DECODER, {"byte_fallback": True, "fuse_unk": True}),
        ("mistral-v3", None, metaspace("first", False), SPM_DECODER, {"byte_fallback": True, "fuse_unk": True}),
        ("metaspace-always", None, metaspace("always", True), {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}, {"fuse_unk": True}),
        ("metaspace-never", None, metaspace("never", True), {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}, {"fuse_unk": False}),
        ("regex-replace", {"type": "Sequence", "normalizers": [
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
         None, SPM_DECODER, {"byte_fallback": True}),
    ]
    added = [
        {"content": "<|endoftext|>", "special": True}, {"content": "<|im_start|>", "special": True, "rstrip": True},
        {"content": "<|im_end|>", "special": True, "lstrip": True}, {"content": "<s>", "special": True}, {"content": "</s>", "special": True},
        {"content": "the", "special": False, "single_word": True, "normalized": True}, {"content": "World", "special": False, "normalized": False},
        {"content": "Wor", "special": False, "normalized": False}, {"content": "  ", "special": False, "normalized": True},
        {"content": "é", "special": False, "normalized": True}, {"content": "<|User|>", "special": False, "normalized": False, "lstrip": True, "rstrip": True},
    ]
    out = []
    for name, normalizer, pre, options in byte_level:
        out.append(small_one(name, normalizer, pre, BYTE_DECODER, options, corpus, tests, added, True))
    for name, normalizer, pre, decoder, options in pieces:
        out.append(small_one(name, normalizer, pre, decoder, options, corpus, tests, added, False))
    return out


def small_one(name, normalizer, pre, decoder, options, corpus, tests, added, byte_level):
    """Trains a tokenizer, edits its JSON to hold exactly the components named, and encodes with what was saved."""
    base = Tokenizer(models.BPE(unk_token=None if byte_level else "<unk>", **options))
    empty = json.loads(base.to_str())
    empty.update(normalizer=normalizer, pre_tokenizer=pre, decoder=decoder)
    base = Tokenizer.from_str(json.dumps(empty))
    specials = [] if byte_level else ["<unk>"] + ["<0x%02X>" % b for b in range(256)] * bool(options.get("byte_fallback"))
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=specials, limit_alphabet=300, show_progress=False, max_token_length=16,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if byte_level else [])
    base.train_from_iterator(corpus, trainer)
    saved = json.loads(base.to_str())
    count = len(saved["model"]["vocab"])
    saved["added_tokens"] = [t for t in saved["added_tokens"] if t["content"] == "<unk>"]
    # Where white space is a token and another token takes white space along, the library panics: one or the other.
    strips = len(name) % 2 == 0
    for token in added:
        if strips and token["content"] == "  ":
            continue
        if not strips:
            token = {key: value for key, value in token.items() if key not in ("lstrip", "rstrip")}
        known = saved["model"]["vocab"].get(token["content"])
        saved["added_tokens"].append({
            "id": count if known is None else known, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, **token})
        count += known is None
    saved["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {t["content"]: {"id": t["content"], "ids": [t["id"]], "tokens": [t["content"]]} for t in saved["added_tokens"] if t["content"] in ("<s>", "</s>")},
    }
    tokenizer = Tokenizer.from_str(json.dumps(saved))
    ids = encode_all(tokenizer, tests)
    decoded = [tokenizer.decode(list(i), skip_special_tokens=True) for i in ids]
    bos = tokenizer.encode("Hello World", add_special_tokens=True).ids
    print(name, len(saved["model"]["vocab"]), file=sys.stderr)
    return {"name": name, "tokenizer": saved, "ids": ids, "decoded": decoded, "with_special": bos}


def write(path, value):
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    print(path, os.path.getsize(path), file=sys.stderr)


def main():
    strings = [json.loads(line) for line in open(sys.argv[1], encoding="utf8")]
    folder = sys.argv[2]
    os.makedirs(folder, exist_ok=True)
    made_with = "tokenizers " + tokenizers.__version__
    write(os.path.join(folder, "small.json.gz"), {"made_with": made_with, "texts": strings[4000:4300], "tokenizers": small(strings)})
    write(os.path.join(folder, "full.json.gz"), {"made_with": made_with, "seed": 1, "count": len(strings), "cases": full(strings)})


if __name__ == "__main__":
    main()
