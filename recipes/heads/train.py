"""Trains one head on brook's own answers, or rill anew on brook's distributions (DistillSpec, Zhou et al. 2024).

    python3 train.py eagle3 BROOK.gguf TEXT.npz HELD.npz OUT --seconds 150
    python3 train.py rill BROOK.gguf TEXT.npz HELD.npz OUT --start RILL.gguf --divergence forward --seconds 60

The loss of a guess is the cross-entropy with the target's whole softmax at the place that it guesses, times DECAY to the
power of its depth; the learning rate follows the clock. Writes OUT/NAME.npz (float16) and OUT/NAME.json: how often guesses
of each depth are right on HELD, once those before are, and the tokens a step that chains would give.
"""

import argparse, json, os, sys, time, numpy as np, torch, torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../brook"))
from evaluate import model_of
from model import CUDA, DEV, DT, norm, orthogonal
import heads as H

DECAY = 0.85
LEAST_DEPTH = 8


class Text:
    """Answers, packed into rows of `length` tokens; what a question says counts little."""

    def __init__(self, path, batch, length, seed):
        z = np.load(path)
        self.ids, self.lengths, self.prompts = z["ids"], z["lengths"], z["prompts"]
        self.at = np.concatenate([[0], np.cumsum(self.lengths)])
        self.batch, self.length, self.rng = batch, length, np.random.default_rng(seed)

    def batches(self, once=False):
        while True:
            order = np.arange(len(self.lengths)) if once else self.rng.permutation(len(self.lengths))
            rows, row, left, doc = [], self._row(), self.length, 0
            for one in order:
                n = min(int(self.lengths[one]), self.length)
                if n > left:
                    rows.append(row)
                    row, left, doc = self._row(), self.length, 0
                    if len(rows) == self.batch:
                        yield self._tensors(rows)
                        rows = []
                at = self.length - left
                part = slice(at, at + n)
                row[0][part] = self.ids[self.at[one] : self.at[one] + n]
                row[1][part] = doc = doc + 1
                row[2][part] = np.arange(n)
                row[3][part] = np.where(np.arange(n) < self.prompts[one], 0.1, 1)
                left -= n
            if once:
                rows += [row] + [self._row()] * (self.batch - len(rows) - 1)
                yield self._tensors(rows)
                return

    def _row(self):
        return [np.zeros(self.length, t) for t in (np.int64, np.int64, np.int64, np.float32)]

    def _tensors(self, rows):
        parts = [torch.from_numpy(np.stack([r[i] for r in rows])) for i in range(4)]
        return [x.pin_memory().to(DEV, non_blocking=True) if CUDA else x for x in parts]


class Optimizer:
    """Muon for the matrices, AdamW for the rest."""

    def __init__(self, module, lr, lr_rest):
        named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        self.mats = [p for n, p in named if p.ndim == 2 and n not in ("emb", "ahead")]
        rest = [p for n, p in named if p.ndim != 2 or n in ("emb", "ahead")]
        self.momentum = [torch.zeros_like(p) for p in self.mats]
        self.adam = torch.optim.AdamW(rest, lr=lr_rest, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0)
        self.lr, self.lr_rest = lr, lr_rest

    @torch.no_grad()
    def step(self, factor):
        for g in self.adam.param_groups:
            g["lr"] = self.lr_rest * factor
        self.adam.step()
        for p, m in zip(self.mats, self.momentum):
            m.lerp_(p.grad, 0.05)
            g = torch.lerp(p.grad, m, 0.95)
            tall = p.shape[0] > p.shape[1]
            u = orthogonal(g.mT if tall else g)
            p.mul_(1 - self.lr * factor * 0.02)
            p.add_(u.mT if tall else u, alpha=-self.lr * factor * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)
            p.grad = None
        self.adam.zero_grad(set_to_none=True)


def soft_ce(h, matrix, wanted, w):
    s = F.linear(h, matrix).float().log_softmax(-1)
    return -((wanted.float().softmax(-1) * s).sum(-1) * w).sum()


def divergence(kind):
    def forward(s, t):
        return (t.exp() * (t - s)).sum(-1)

    def loss(h, matrix, wanted, w):
        s, t = F.linear(h, matrix).float().log_softmax(-1), wanted.float().log_softmax(-1)
        if kind == "forward":
            d = forward(s, t)
        elif kind == "reverse":
            d = forward(t, s)
        elif kind == "tvd":
            d = 0.5 * (t.exp() - s.exp()).abs().sum(-1)
        else:
            mean = torch.logaddexp(s, t) - 0.6931472
            d = 0.5 * (forward(mean, s) + forward(mean, t))
        return (d * w).sum()

    return loss


class Rill(torch.nn.Module):
    """rill as a head of depth 1: it reads the same batch, and guesses with vectors and a matrix of its own."""

    def __init__(self, model):
        super().__init__()
        self.model, self.depth = model, 1

    def vectors(self, b, depth=None):
        x = F.embedding(b.ids, self.model.emb).to(DT)
        for w in self.model.blocks:
            x, _ = H.target_layer(self.model, w, x, b.pos, b.mask, None)
        x = norm(x, self.model.norm, self.model.c.eps)
        rows = torch.arange(b.ids.shape[1], device=b.ids.device).expand_as(b.ids)
        return [H.shift(x, 1 + k) for k in range(depth or 1)], rows

    @property
    def matrix(self):
        return self.model.emb.to(DT)


def loss_of(head, b, loss):
    out, rows = head.vectors(b)
    matrix = head.matrix if isinstance(head, Rill) else b.m.emb.to(DT)
    whole = rows.shape == b.ids.shape
    total, norm_ = 0.0, 0.0
    logits = b.logits
    for k, h in enumerate(out):
        w = b.weights(rows, k) * DECAY**k
        at = (rows + 1 + k).clamp(max=b.ids.shape[1] - 1)
        if whole:
            wanted = H.shift(logits, 1 + k)
        else:
            wanted = F.linear(b.last.gather(1, at[:, :, None].expand(-1, -1, b.last.shape[-1])), b.m.emb.to(DT))
        total = total + checkpoint(loss, h, matrix, wanted, w, use_reentrant=False)
        if getattr(head, "kind", "") == "eagle":
            goal = H.shift(b.last, 1 + k).float()
            total = total + 10 * (F.smooth_l1_loss(h.float(), goal, reduction="none").mean(-1) * w).sum()
        norm_ = norm_ + w.sum()
    return total / norm_.clamp(min=1)


@torch.no_grad()
def measure(head, m, text):
    """On greedy text: of each depth, the share of right guesses where all before were right (first 1, then 3 candidates)."""
    reached = torch.zeros(3, LEAST_DEPTH, dtype=torch.float64, device=DEV)
    hits = torch.zeros_like(reached)
    for parts in text.batches(once=True):
        b = H.run_target(H.Batch(m, *parts))
        depth = LEAST_DEPTH if isinstance(head, (H.Recurrent, H.Kangaroo, Rill)) else head.depth
        out, rows = head.vectors(b, depth)
        matrix = head.matrix if isinstance(head, Rill) else m.emb.to(DT)
        right = [(b.weights(rows, 0) > 0.5).double() for _ in range(3)]
        for k, h in enumerate(out):
            inside = b.weights(rows, k) > 0.5
            wanted = b.ids.gather(1, (rows + 2 + k).clamp(max=b.ids.shape[1] - 1))
            for part in range(0, len(h), 8):
                s = F.linear(h[part : part + 8], matrix)
                # 0: the best guess, 1: one of the best three, 2: the best guess among the first 6,144 ids.
                top = s.topk(3, -1)[1]
                few = s[..., :6144].argmax(-1)
                y = wanted[part : part + 8]
                for i, hit in enumerate(((top[..., 0] == y), (top == y[..., None]).any(-1), few == y)):
                    r = right[i][part : part + 8] * inside[part : part + 8]
                    reached[i, k] += r.sum()
                    right[i][part : part + 8] = r * hit
                    hits[i, k] += (r * hit).sum()
    rate = (hits / reached.clamp(min=1)).cpu()
    steps = {n: [round(1 + rate[i].cumprod(0)[:d].sum().item(), 3) for d in (2, 4, 6, 8)] for i, n in enumerate(("chain", "best3", "few"))}
    return {"right": [[round(x, 4) for x in r] for r in rate.tolist()], "tokens a step at depth 2 4 6 8": steps}


def main():
    a = argparse.ArgumentParser()
    for name in ("head", "target", "text", "held", "out"):
        a.add_argument(name)
    a.add_argument("--seconds", type=float, default=60)
    a.add_argument("--batch", type=int, default=32)
    a.add_argument("--length", type=int, default=512)
    a.add_argument("--lr", type=float, default=0.02)
    a.add_argument("--lr-rest", type=float, default=3e-3)
    a.add_argument("--start")
    a.add_argument("--divergence", default="forward")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--no-compile", action="store_true")
    o = a.parse_args()
    torch.manual_seed(o.seed)
    torch.set_float32_matmul_precision("high")
    m = model_of(o.target).requires_grad_(False)
    name = o.head if o.head != "rill" else f"rill-{o.divergence}"
    head = (Rill(model_of(o.start)) if o.head == "rill" else H.HEADS[o.head]()).to(DEV)
    loss = divergence(o.divergence) if o.head == "rill" else soft_ce
    text, held = Text(o.text, o.batch, o.length, o.seed), Text(o.held, o.batch, o.length, 0)
    before = measure(head, m, held) if o.head == "rill" else None
    compile_ = (lambda f: f) if o.no_compile or not CUDA else (lambda f: torch.compile(f, dynamic=False))
    fast_loss, fast_target = compile_(loss), compile_(H.run_target_parts)

    def step(parts):
        b = H.Batch(m, *parts)
        H.set_target(b, fast_target(m, b.ids, b.pos, b.mask))
        with torch.no_grad():
            b.logits = None if isinstance(head, (H.DFlash, H.Pass)) else F.linear(b.last, m.emb.to(DT))
        return loss_of(head, b, fast_loss)

    opt = Optimizer(head, o.lr, o.lr_rest)
    print(name, sum(p.numel() for p in head.parameters()), "parameters;", len(text.ids), "tokens", flush=True)
    if before:
        print("before", before, flush=True)
    began = told = time.time()
    n = 0
    for parts in text.batches():
        done = (time.time() - began) / o.seconds
        if n > 1 and done >= 1:
            break
        value = step(parts)
        value.backward()
        opt.step(min(1.0, (n + 1) / 60, max(0.0, (1 - done) / 0.5)))
        n += 1
        if n < 4 or time.time() - told > 15:
            told = time.time()
            print(f"{name} step {n} loss {value.item():.4f} {told - began:.0f} s", flush=True)
    report = {
        "head": name, "steps": n, "tokens": n * o.batch * o.length, "seconds": time.time() - began,
        "epochs": n * o.batch * o.length / len(text.ids), "parameters": sum(p.numel() for p in head.parameters()),
        "loss": value.item(), **({"before": before} if before else {}), **measure(head, m, held),
    }
    np.savez(f"{o.out}/{name}.npz", **{k: v.half().cpu().numpy() for k, v in head.state_dict().items()})
    json.dump(report, open(f"{o.out}/{name}.json", "w"), indent=1)
    print(json.dumps(report), flush=True)
    if CUDA:
        print(f"{name} peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB", flush=True)


if __name__ == "__main__":
    main()
