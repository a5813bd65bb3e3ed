"""Interpolates two trained models: (1 − SHARE) · A + SHARE · B, after Wortsman et al. (2022), "Robust fine-tuning".

python3 blend.py A.gguf B.gguf SHARE OUT.pt
"""

import sys, torch
import export
from evaluate import model_of

if __name__ == "__main__":
    a, b, share, out = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
    c = model_of(a).c
    x, y = export.restore(a, c), export.restore(b, c)
    torch.save({"config": c.__dict__, "state": {k: (1 - share) * x[k] + share * y[k] for k in x}, "steps": 0}, out)
