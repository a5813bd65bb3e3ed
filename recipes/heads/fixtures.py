"""Fixtures for drafting heads: what heads.py computes of a tiny model with seeded weights (recipes/fixtures/seeded.py), so that a
fixture holds tokens and logits and no weights. test/heads.test.ts makes the same weights and compares.

    python3 fixtures.py OUT_DIR
"""

import json, os, sys, numpy as np, torch

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(here, "../brook"), os.path.join(here, "../fixtures")]
import heads as H
import seeded
from model import Config, Llama

H.DT = torch.float32
CONFIG = Config("tiny", 128, 4, 2, 1, 96, vocab=64, context=128)
TOKENS, DEPTH, ROWS = 24, 3, 4


def fill(module, fixture):
    with torch.no_grad():
        for name, p in module.named_parameters():
            shape = list(p.shape)
            offset, exponent = (1, -7) if p.ndim == 1 else (0, round(np.log2(1.4 / np.sqrt(shape[-1]) / seeded.SPREAD)))
            if name == "emb":
                offset, exponent = 0, -5
            p.copy_(torch.from_numpy(seeded.values(fixture, name, shape, offset, exponent)))


def main(out):
    target = Llama(CONFIG)
    fill(target, "heads target")
    ids = seeded.token_ids("heads", TOKENS, CONFIG.vocab)
    one = torch.tensor([ids])
    with torch.no_grad():
        b = H.run_target(H.Batch(target, one, torch.ones_like(one), torch.arange(TOKENS)[None], torch.ones_like(one).float()))
        for kind in ("eagle", "eagle3", "mtp"):
            H.Recurrent.FEATURES = (1, 2, 4)
            head = H.Recurrent(kind, d=CONFIG.d, depth=DEPTH)
            fill(head, f"heads {kind}")
            vectors, _ = head.vectors(b, DEPTH)
            # The first rows as they are, and one row of each depth: row i has read the tokens up to i + 1 + k.
            first = (vectors[0][0] @ target.emb.T)[:ROWS].tolist()
            chain = [(v[0] @ target.emb.T)[TOKENS - 2 - DEPTH].tolist() for v in vectors]
            r = lambda rows: [[float(f"{x:.6g}") for x in row] for row in rows]
            json.dump({"tokens": ids, "first": r(first), "chain": r(chain)}, open(f"{out}/{kind}.json", "w"))


if __name__ == "__main__":
    main(sys.argv[1])
