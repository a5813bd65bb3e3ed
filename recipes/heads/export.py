"""A trained head -> GGUF with Q8_0 matrices; norms stay F32. It holds no embeddings and no output matrix: those are brook's.

    python3 export.py eagle3.npz OUT.gguf [--vocabulary 6144]       (the first so many tokens are drafted: BPE numbers by frequency)
"""

import argparse, os, sys, numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../brook"))
import gguf_file as G

LAYER = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output", "n2": "ffn_norm", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}
NAMES = {
    "eagle3": {"fc": "fc", "n_token": "blk.0.attn_norm", "n_hidden": "blk.0.hidden_norm", "n_out": "output_norm"},
    "eagle": {"fc": "fc"},
    "mtp": {"fc": "blk.0.nextn.eh_proj", "n_token": "blk.0.nextn.enorm", "n_hidden": "blk.0.nextn.hnorm", "n1": "blk.0.attn_norm", "n_out": "blk.0.nextn.shared_head_norm"},
}
ABOUT = {
    "eagle3": "An EAGLE-3 head for Brook, trained on Brook's own answers.",
    "eagle": "An EAGLE head for Brook, trained on Brook's own answers.",
    "mtp": "A multi-token prediction head for Brook, trained on Brook's own answers.",
}


def main():
    a = argparse.ArgumentParser()
    a.add_argument("head")
    a.add_argument("out")
    a.add_argument("--vocabulary", type=int)
    a.add_argument("--q4", action="store_true", help="Q4_0 instead of Q8_0")
    o = a.parse_args()
    kind = os.path.basename(o.head).split(".")[0]
    w = {k: v.astype(np.float32) for k, v in np.load(o.head).items()}
    names = {**{f"layer.{k}": f"blk.0.{v}" for k, v in LAYER.items()}, **NAMES[kind]}
    key = lambda k: f"{kind}.{k}"
    meta = {
        "general.architecture": kind, "general.type": "model", "general.name": f"brook {kind}",
        "general.description": ABOUT[kind], "general.license": "apache-2.0", "general.file_type": 2 if o.q4 else 7, "general.quantization_version": 2,
        key("block_count"): 1, key("context_length"): 2048, key("embedding_length"): 512,
        key("feed_forward_length"): w["layer.gate"].shape[0], key("attention.head_count"): 8,
        key("attention.head_count_kv"): w["layer.k"].shape[0] // 64, key("attention.key_length"): 64, key("attention.value_length"): 64,
        key("rope.dimension_count"): 64, key("rope.freq_base"): 10000.0, key("attention.layer_norm_rms_epsilon"): 1e-5,
        **({key("extract_layers"): [2, 5, 8]} if kind == "eagle3" else {}),
        **({key("draft_vocab_size"): o.vocabulary} if o.vocabulary else {}),
    }
    matrix = G.Q4_0 if o.q4 else G.Q8_0
    tensors = [(f"{names[k]}.weight", x, G.F32 if x.ndim == 1 else matrix) for k, x in w.items()]
    G.write(o.out, meta, tensors)
    print(o.out, os.path.getsize(o.out), "bytes")


if __name__ == "__main__":
    main()
