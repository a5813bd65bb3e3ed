"""Trains brook's tokenizer: byte-level BPE of 16,384 entries, digits one by one (the pre-tokenizer llama.cpp calls "smollm").

python3 tokenizer.py OUT.json TEXT.jsonl …      with at most MEGABYTES (environment, default 120) of text, evenly drawn
"""

import json, os, sys

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|tool_start|>",
    "<|tool_end|>",
    "<|reserved_0|>",
    "<|reserved_1|>",
    "<|reserved_2|>",
]
VOCAB = 16384
TEMPLATE = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + (message['content'] | trim) + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"


def train(texts, path):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCAB,
            special_tokens=[AddedToken(s, special=True, normalized=False) for s in SPECIAL],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
            min_frequency=3,
        ),
    )
    assert t.get_vocab_size() == VOCAB, t.get_vocab_size()
    t.save(path)


def contents(paths, budget):
    size = sum(os.path.getsize(p) for p in paths)
    keep = min(1.0, budget / size)
    acc = 0.0
    for p in paths:
        for line in open(p, encoding="utf-8"):
            acc += keep
            if acc < 1:
                continue
            acc -= 1
            for m in json.loads(line)["messages"]:
                yield m["role"]  # so that the three role names become one token each
                yield m["content"]


if __name__ == "__main__":
    train(contents(sys.argv[2:], float(os.environ.get("MEGABYTES", "120")) * 1e6), sys.argv[1])
