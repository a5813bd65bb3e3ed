"""Drafting heads for brook in PyTorch. Row i knows the target's vectors up to place i and the tokens up to place i + 1;
its k-th vector, times the target's output matrix, guesses token i + 2 + k. All of them read a batch of packed documents
`[B, S]`, whose rows attend to their own document only.

    eagle3    Li et al. 2025: vectors of three layers fused, one layer that goes on from its own output (training-time test)
    eagle     Li et al. 2024: the same from the last vector alone, which it predicts
    mtp       DeepSeek-AI 2024: one more layer behind the model's last vector, used again and again
    medusa    Cai et al. 2024: a residual block for each token ahead
    dflash    Chen et al. 2026: a block of masks, filled in one pass, that attends to the target's vectors
    kangaroo  Liu et al. 2024: attention behind the model's first layers
    pass      Monea et al. 2023: embeddings that make the model itself look ahead
"""

import math, torch, torch.nn as nn, torch.nn.functional as F
from model import DT, norm

EPS, HEAD = 1e-5, 64


def matrix(rows, columns, zero=False):
    return nn.Parameter(torch.zeros(rows, columns) if zero else torch.randn(rows, columns) * (0.5 / math.sqrt(columns)))


def linear(x, w, bias=None):
    return F.linear(x, w.to(DT), None if bias is None else bias.to(DT))


def turn(x, pos, m):
    """Rotates x [B, S, H, D] by positions [B, S]; neighbouring columns are pairs."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    c, s = m.cos[pos][:, :, None], m.sin[pos][:, :, None]
    return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2).to(x.dtype)


def attend(q, k, v, mask):
    """q [B, Q, H, D], k and v [B, K, G, D], mask [B, 1, Q, K] -> [B, Q, H·D]."""
    r = q.shape[2] // k.shape[2]
    wide = lambda x: x.repeat_interleave(r, 2).transpose(1, 2)
    return F.scaled_dot_product_attention(q.transpose(1, 2), wide(k), wide(v), attn_mask=mask).transpose(1, 2).flatten(2)


def shift(x, n):
    """Row i becomes row i + n; behind the end zeros."""
    return F.pad(x[:, n:], (0, 0) * (x.ndim - 2) + (0, n)) if n else x


class Batch:
    """A packed batch and what the target makes of it: `hidden[l]` goes into layer l, `last` into the output matrix."""

    def __init__(self, m, ids, doc, pos, weight):
        self.m, self.ids, self.doc, self.pos, self.weight = m, ids, doc, pos, weight
        at = torch.arange(ids.shape[1], device=ids.device)
        self.mask = ((doc[:, :, None] == doc[:, None]) & (at[:, None] >= at))[:, None]

    def weights(self, rows, k):
        """Of row i's k-th guess: that of token i + 2 + k, 0 where the document ends before."""
        at = rows + 2 + k
        inside = at < self.ids.shape[1]
        at = at.clamp(max=self.ids.shape[1] - 1)
        same = self.doc.gather(1, at) == self.doc.gather(1, rows)
        return self.weight.gather(1, at) * (same & inside)


def run_target_parts(m, ids, pos, mask):
    """What goes into each layer and what comes out of the last, the last normed, and keys and values of each."""
    with torch.no_grad():
        hidden, keys = [], []
        x = F.embedding(ids, m.emb).to(DT)
        for block in m.blocks:
            hidden.append(x)
            x, kv = target_layer(m, block, x, pos, mask, None)
            keys.append(kv)
        return [*hidden, x], norm(x, m.norm, m.c.eps), keys


def set_target(b, parts):
    b.hidden, b.last, b.keys = parts


def run_target(b):
    set_target(b, run_target_parts(b.m, b.ids, b.pos, b.mask))
    return b


def target_layer(m, w, x, pos, mask, before):
    """One of brook's layers; `before`: keys and values that stand before the rows' own."""
    c = m.c
    h = norm(x, w["n1"], c.eps)
    part = lambda n, heads: linear(h, w[n]).unflatten(-1, (heads, c.head))
    q, k, v = turn(part("q", c.heads), pos, m), turn(part("k", c.kv), pos, m), part("v", c.kv)
    kv = (k, v)
    if before is not None:
        k, v = torch.cat([before[0], k], 1), torch.cat([before[1], v], 1)
    x = x + linear(attend(q, k, v, mask), w["o"])
    h = norm(x, w["n2"], c.eps)
    return x + linear(F.silu(linear(h, w["gate"])) * linear(h, w["up"]), w["down"]), kv


class Layer(nn.Module):
    """Attention and, with `ff`, a gated MLP; its input may be wider than what it adds to."""

    def __init__(self, wide, d, heads, kv, ff):
        super().__init__()
        self.heads, self.kv = heads, kv
        self.q, self.k, self.v = matrix(heads * HEAD, wide), matrix(kv * HEAD, wide), matrix(kv * HEAD, wide)
        self.o = matrix(d, heads * HEAD, True)
        self.has_mlp = ff > 0
        if ff:
            self.n2 = nn.Parameter(torch.ones(d))
            self.gate, self.up, self.down = matrix(ff, d), matrix(ff, d), matrix(d, ff, True)

    def qkv(self, h, pos, m):
        part = lambda w, n: linear(h, w).unflatten(-1, (n, HEAD))
        return turn(part(self.q, self.heads), pos, m), turn(part(self.k, self.kv), pos, m), part(self.v, self.kv)

    def add(self, x, attended):
        x = x + linear(attended, self.o)
        if not self.has_mlp:
            return x
        h = norm(x, self.n2, EPS)
        return x + linear(F.silu(linear(h, self.gate)) * linear(h, self.up), self.down)


class Recurrent(nn.Module):
    """eagle3, eagle and mtp: a layer over the token ahead and a vector, the target's or, further ahead, its own."""

    FEATURES = (2, 5, 8)

    def __init__(self, kind, d=512, depth=5):
        super().__init__()
        self.kind, self.depth = kind, depth
        ones = lambda: nn.Parameter(torch.ones(d))
        wide = 2 * d if kind == "eagle3" else d
        self.layer = Layer(wide, d, 8, 2, 1024)
        self.fc = matrix(d, 3 * d if kind == "eagle3" else 2 * d)
        if kind != "eagle":
            self.n_token, self.n_hidden, self.n_out = ones(), ones(), ones()
        if kind == "mtp":
            self.n1 = ones()

    def vectors(self, b, depth=None):
        """A vector for the output matrix for each row and depth; with `eagle` they are what the target's last ones will be."""
        depth = depth or self.depth
        x = linear(torch.cat([b.hidden[l] for l in self.FEATURES], -1), self.fc) if self.kind == "eagle3" else b.last
        keys, out = [], []
        for k in range(depth):
            e = F.embedding(shift(b.ids, 1 + k), b.m.emb).to(DT)
            if self.kind == "eagle3":
                h = torch.cat([norm(e, self.n_token, EPS), norm(x, self.n_hidden, EPS)], -1)
            elif self.kind == "mtp":
                x = linear(torch.cat([norm(e, self.n_token, EPS), norm(x, self.n_hidden, EPS)], -1), self.fc)
                h = norm(x, self.n1, EPS)
            else:
                h = x = linear(torch.cat([e, x], -1), self.fc)
            q, key, value = self.layer.qkv(h, b.pos + k, b.m)
            keys.append((key, value))
            x = self.layer.add(x, ahead(q, keys, b.mask))
            out.append(x if self.kind == "eagle" else norm(x, self.n_out, EPS))
        rows = torch.arange(b.ids.shape[1], device=b.ids.device).expand_as(b.ids)
        return out, rows


def ahead(q, keys, mask):
    """Row i, k tokens ahead, sees the places up to i as the target knows them, and the k it has drafted itself."""
    r = q.shape[2] // keys[0][0].shape[2]
    q = q.transpose(1, 2) / math.sqrt(HEAD)
    wide = lambda x: x.repeat_interleave(r, 2).transpose(1, 2)
    s = (q @ wide(keys[0][0]).mT).float().masked_fill(~mask, -1e30)
    own = [(q * wide(k)).sum(-1, keepdim=True).float() for k, _ in keys[1:]]
    p = torch.cat([s, *own], -1).softmax(-1).to(DT)
    n = s.shape[-1]
    out = p[..., :n] @ wide(keys[0][1])
    for i, (_, v) in enumerate(keys[1:]):
        out = out + p[..., n + i : n + i + 1] * wide(v)
    return out.transpose(1, 2).flatten(2)


class Medusa(nn.Module):
    def __init__(self, d=512, depth=4):
        super().__init__()
        self.depth = depth
        self.blocks = nn.ParameterList([matrix(d, d, True) for _ in range(depth)])
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(d)) for _ in range(depth)])

    def vectors(self, b, depth=None):
        out = [b.last + F.silu(linear(b.last, w, c)) for w, c in zip(self.blocks, self.biases)]
        return out, torch.arange(b.ids.shape[1], device=b.ids.device).expand_as(b.ids)


class Kangaroo(nn.Module):
    EXIT = 2

    def __init__(self, d=512, depth=5):
        super().__init__()
        self.depth = depth
        self.n1, self.n_out = nn.Parameter(torch.ones(d)), nn.Parameter(torch.ones(d))
        self.layer = Layer(d, d, 8, 4, 0)

    def vectors(self, b, depth=None):
        """The first layers are the model's own, so a row further ahead is the row at that place."""
        x = b.hidden[self.EXIT]
        q, k, v = self.layer.qkv(norm(x, self.n1, EPS), b.pos, b.m)
        x = norm(self.layer.add(x, attend(q, k, v, b.mask)), self.n_out, EPS)
        rows = torch.arange(b.ids.shape[1], device=b.ids.device).expand_as(b.ids)
        return [shift(x, 1 + k) for k in range(depth or 1)], rows


def anchors(b, count, length):
    """Rows `[B, count]` drawn from those of the answers whose block of `length` guesses ends in the document."""
    w = sum(b.weights(torch.arange(b.ids.shape[1], device=b.ids.device).expand_as(b.ids), k) for k in range(length))
    w = torch.where(w > 0.5, w, torch.full_like(w, 1e-6))
    return torch.multinomial(w, count).sort(1)[0]


def block_mask(b, rows, length, seen, causal):
    """[B, 1, A·length, S + A·length]: a block sees places before `seen` of its document, and itself."""
    doc = b.doc.gather(1, rows)
    at = torch.arange(b.ids.shape[1], device=rows.device)
    known = (b.doc[:, None] == doc[:, :, None]) & (at < seen[:, :, None])
    a = rows.shape[1]
    one = torch.arange(a * length, device=rows.device)
    own = (one[:, None] // length == one // length) & (one[:, None] >= one if causal else True)
    return torch.cat([known.repeat_interleave(length, 1), own.expand(len(rows), -1, -1)], -1)[:, None]


class DFlash(nn.Module):
    FEATURES = (2, 5, 8)

    def __init__(self, d=512, block=8, layers=2, count=24):
        super().__init__()
        self.depth, self.block, self.count = block - 1, block, count
        ones = lambda: nn.Parameter(torch.ones(d))
        self.fc, self.n_hidden, self.n_out = matrix(d, 3 * d), ones(), ones()
        self.mask = nn.Parameter(torch.randn(d) * 0.02)
        self.layers = nn.ModuleList([Layer(d, d, 8, 2, 448) for _ in range(layers)])
        self.n1 = nn.ParameterList([ones() for _ in range(layers)])

    def vectors(self, b, depth=None):
        rows = anchors(b, self.count, self.depth)
        context = norm(linear(torch.cat([b.hidden[l] for l in self.FEATURES], -1), self.fc), self.n_hidden, EPS)
        at = (rows[:, :, None] + 1 + torch.arange(self.block, device=rows.device)).flatten(1)
        known = F.embedding(shift(b.ids, 1).gather(1, rows), b.m.emb).to(DT)
        masks = self.mask.to(DT).expand(*rows.shape, self.block - 1, -1)
        x = torch.cat([known[:, :, None], masks], 2).flatten(1, 2)
        pos = (b.pos.gather(1, rows)[:, :, None] + 1 + torch.arange(self.block, device=rows.device)).flatten(1)
        mask = block_mask(b, rows, self.block, rows + 1, False)
        for layer, n1 in zip(self.layers, self.n1):
            _, ck, cv = layer.qkv(context, b.pos, b.m)
            q, k, v = layer.qkv(norm(x, n1, EPS), pos, b.m)
            x = layer.add(x, attend(q, torch.cat([ck, k], 1), torch.cat([cv, v], 1), mask))
        x = norm(x, self.n_out, EPS).unflatten(1, (-1, self.block))
        return [x[:, :, 1 + k] for k in range(self.depth)], rows


class Pass(nn.Module):
    def __init__(self, d=512, depth=4, count=24):
        super().__init__()
        self.depth, self.count = depth, count
        self.ahead = nn.Parameter(torch.randn(depth, d) * 0.02)

    def vectors(self, b, depth=None):
        rows = anchors(b, self.count, self.depth)
        step = 1 + torch.arange(self.depth, device=rows.device)
        pos = (b.pos.gather(1, rows)[:, :, None] + step).flatten(1)
        mask = block_mask(b, rows, self.depth, rows + 1, True)
        x = self.ahead.to(DT).expand(*rows.shape, -1, -1).flatten(1, 2)
        for w, kv in zip(b.m.blocks, b.keys):
            x, _ = target_layer(b.m, w, x, pos, mask, kv)
        x = norm(x, b.m.norm, b.m.c.eps).unflatten(1, (-1, self.depth))
        return [x[:, :, k] for k in range(self.depth)], rows


HEADS = {
    "eagle3": lambda: Recurrent("eagle3"),
    "eagle": lambda: Recurrent("eagle", depth=3),
    "mtp": lambda: Recurrent("mtp", depth=3),
    "medusa": Medusa,
    "dflash": DFlash,
    "kangaroo": Kangaroo,
    "pass": Pass,
}
