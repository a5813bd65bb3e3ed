"""Trained weights -> GGUF with Q8_0 matrices (norms stay F32), the tokenizer and chat template inside.

python3 export.py NAME.pt TOKENIZER.json OUT.gguf [--f32]
"""

import json, sys, numpy as np, torch
import gguf_file as G
from tokenizer import SPECIAL, TEMPLATE

ABOUT = {
    "brook": ("Brook", "A small chat model built into Millrace: a demonstration and a test bed, not an assistant."),
    "rill": ("Rill", "Brook's draft for speculative decoding, distilled from its distributions."),
    "tiny": ("Tiny", "A smoke test."),
}


def metadata(c, tokenizer):
    t = json.load(open(tokenizer))
    vocab = t["model"]["vocab"]
    toks = [None] * c["vocab"]
    for s, i in vocab.items():
        toks[i] = s
    for x in t["added_tokens"]:
        toks[x["id"]] = x["content"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in t["model"]["merges"]]
    special = set(SPECIAL)
    name, about = ABOUT[c["name"]]
    return {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": name,
        "general.description": about,
        "general.license": "apache-2.0",
        "general.size_label": f"{c['parameters'] / 1e6:.1f}M",
        "general.file_type": 7,
        "general.quantization_version": 2,
        "general.sampling.temp": 0.6,
        "general.sampling.min_p": 0.05,
        "llama.block_count": c["layers"],
        "llama.context_length": c["context"],
        "llama.embedding_length": c["d"],
        "llama.feed_forward_length": c["ff"],
        "llama.attention.head_count": c["heads"],
        "llama.attention.head_count_kv": c["kv"],
        "llama.attention.key_length": c["head"],
        "llama.attention.value_length": c["head"],
        "llama.rope.dimension_count": c["head"],
        "llama.rope.freq_base": float(c["theta"]),
        "llama.attention.layer_norm_rms_epsilon": float(c["eps"]),
        "llama.vocab_size": c["vocab"],
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": toks,
        "tokenizer.ggml.token_type": [3 if s in special else 1 for s in toks],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.eot_token_id": 2,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.chat_template": TEMPLATE,
    }


def export(path, tokenizer, out, kind=G.Q8_0):
    s = torch.load(path, map_location="cpu")
    w = {k: v.float().numpy() for k, v in s["state"].items()}
    c = dict(s["config"], parameters=sum(v.size for v in w.values()))
    meta = metadata(c, tokenizer)
    if kind == G.F32:
        meta["general.file_type"] = 0
    rows = [("token_embd.weight", w["emb"], kind)]
    names = dict(
        n1="attn_norm",
        q="attn_q",
        k="attn_k",
        v="attn_v",
        o="attn_output",
        n2="ffn_norm",
        gate="ffn_gate",
        up="ffn_up",
        down="ffn_down",
    )
    for i in range(c["layers"]):
        for a, b in names.items():
            x = w[f"blocks.{i}.{a}"]
            rows.append((f"blk.{i}.{b}.weight", x, G.F32 if x.ndim == 1 else kind))
    rows.append(("output_norm.weight", w["norm"], G.F32))
    G.write(out, meta, rows)


def restore(gguf, config):
    """A GGUF's dequantised weights as a state of model.Llama."""
    _, t = G.read(gguf)
    names = dict(
        n1="attn_norm",
        q="attn_q",
        k="attn_k",
        v="attn_v",
        o="attn_output",
        n2="ffn_norm",
        gate="ffn_gate",
        up="ffn_up",
        down="ffn_down",
    )
    s = {"emb": t["token_embd.weight"], "norm": t["output_norm.weight"]}
    for i in range(config.layers):
        for a, b in names.items():
            s[f"blocks.{i}.{a}"] = t[f"blk.{i}.{b}.weight"]
    return {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in s.items()}


if __name__ == "__main__":
    export(sys.argv[1], sys.argv[2], sys.argv[3], G.F32 if "--f32" in sys.argv else G.Q8_0)
