"""The Llama layout in PyTorch, as brook and rill are trained: RMSNorm, RoPE, grouped-query attention, SwiGLU, tied embeddings.

RoPE turns neighbouring pairs (2i, 2i + 1), which is the order of rows in GGUF files of the architecture `llama`: the
weights go into the file as they are. (Hugging Face's Llama turns (i, i + d/2): permute q and k there.)
Muon follows Jordan et al. (2024), https://kellerjordan.github.io/posts/muon; decoupled weight decay after Liu et al. (2025).
"""

import dataclasses, math, torch, torch.nn as nn, torch.nn.functional as F

CUDA = torch.cuda.is_available()
DEV, DT = ("cuda", torch.bfloat16) if CUDA else ("cpu", torch.float32)


@dataclasses.dataclass
class Config:
    name: str
    d: int
    layers: int
    heads: int
    kv: int
    ff: int
    head: int = 64
    vocab: int = 16384
    context: int = 2048
    theta: float = 10000.0
    eps: float = 1e-5


BROOK = Config("brook", 512, 8, 8, 4, 1280)
RILL = Config("rill", 128, 4, 2, 1, 256)
TINY = Config("tiny", 256, 2, 4, 2, 256)


def varlen(q, k, v, cu, longest):
    """q [T, H, D], k and v [T, G, D]; each segment of cu [n + 1] attends causally to itself."""
    if q.is_cuda:
        return torch.ops.aten._flash_attention_forward(q, k, v, cu, cu, longest, longest, 0.0, True, False)[0]
    r = q.shape[1] // k.shape[1]
    seg = torch.bucketize(torch.arange(q.shape[0]), cu.long(), right=True)
    mask = (seg[:, None] == seg[None]) & torch.ones(len(seg), len(seg), dtype=torch.bool).tril()
    return F.scaled_dot_product_attention(
        q.transpose(0, 1)[None],
        k.repeat_interleave(r, 1).transpose(0, 1)[None],
        v.repeat_interleave(r, 1).transpose(0, 1)[None],
        attn_mask=mask,
    )[0].transpose(0, 1)


def rope(x, cos, sin):
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    c, s = cos[:, None], sin[:, None]
    return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2).to(x.dtype)


def norm(x, w, eps):
    return (F.rms_norm(x.float(), (x.shape[-1],), eps=eps) * w).to(DT)


class Llama(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        q, g = c.heads * c.head, c.kv * c.head

        def mat(o, i, zero=False):
            return nn.Parameter(torch.zeros(o, i) if zero else torch.randn(o, i) * (0.5 / math.sqrt(i)))

        self.emb = nn.Parameter(torch.randn(c.vocab, c.d) * 0.02)
        self.norm = nn.Parameter(torch.ones(c.d))
        self.blocks = nn.ModuleList(
            nn.ParameterDict(
                dict(
                    n1=nn.Parameter(torch.ones(c.d)),
                    q=mat(q, c.d),
                    k=mat(g, c.d),
                    v=mat(g, c.d),
                    o=mat(c.d, q, True),
                    n2=nn.Parameter(torch.ones(c.d)),
                    gate=mat(c.ff, c.d),
                    up=mat(c.ff, c.d),
                    down=mat(c.d, c.ff, True),
                )
            )
            for _ in range(c.layers)
        )
        ang = (
            torch.arange(c.context).float()[:, None] * (c.theta ** (-torch.arange(0, c.head, 2).float() / c.head))[None]
        )
        self.register_buffer("cos", ang.cos(), persistent=False)
        self.register_buffer("sin", ang.sin(), persistent=False)

    def hidden(self, ids, pos, cu, longest=2048):
        """ids, pos [T] -> normed last hidden states [T, d]."""
        c = self.c
        x = F.embedding(ids, self.emb).to(DT)
        cos, sin = self.cos[pos], self.sin[pos]
        T = ids.shape[0]
        for b in self.blocks:
            h = F.linear(norm(x, b["n1"], c.eps), torch.cat([b["q"], b["k"], b["v"]]).to(DT))
            n, g = c.heads * c.head, c.kv * c.head
            q = rope(h[:, :n].view(T, c.heads, c.head), cos, sin)
            k = rope(h[:, n : n + g].view(T, c.kv, c.head), cos, sin)
            v = h[:, n + g :].reshape(T, c.kv, c.head)
            x = x + F.linear(varlen(q, k, v, cu, longest).reshape(T, n), b["o"].to(DT))
            u = F.linear(norm(x, b["n2"], c.eps), torch.cat([b["gate"], b["up"]]).to(DT))
            x = x + F.linear(F.silu(u[:, : c.ff]) * u[:, c.ff :], b["down"].to(DT))
        return norm(x, self.norm, c.eps)

    def logits(self, h):
        return F.linear(h, self.emb.to(DT))

    def losses(self, ids, target, pos, cu, longest=2048):
        return F.cross_entropy(self.logits(self.hidden(ids, pos, cu, longest)).float(), target, reduction="none")

    def count(self):
        return sum(p.numel() for p in self.parameters())

    def flops(self, mean_square):
        """Forward and backward, a token; mean_square = Σ len² / Σ len of the attention segments (half of it is causal)."""
        return 6 * self.count() + 6 * self.c.layers * self.c.heads * self.c.head * mean_square


def orthogonal(g):
    """Newton–Schulz: [n, rows ≤ cols] towards the nearest orthogonal matrices, in bf16."""
    x = g.to(torch.bfloat16) if CUDA else g
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.float()


class Optimizer:
    """Muon for the matrices of the blocks, fused AdamW for embeddings and norms; `factor` scales both learning rates."""

    def __init__(self, m, lr=0.02, decay=0.05, lr_emb=2e-3, momentum=0.95):
        self.mats = [p for b in m.blocks for k, p in b.items() if p.ndim == 2]
        rest = [p for n, p in m.named_parameters() if p.ndim == 1]
        self.buf = [torch.zeros_like(p) for p in self.mats]
        self.lr, self.decay, self.mu = lr, decay, momentum
        self.groups = {}
        for i, p in enumerate(self.mats):
            self.groups.setdefault((min(p.shape), max(p.shape)), []).append(i)
        self.adam = torch.optim.AdamW(
            [{"params": [m.emb], "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}],
            lr=lr_emb,
            betas=(0.9, 0.95),
            eps=1e-10,
            fused=CUDA,
        )
        self.lr_emb = lr_emb
        self.ortho = torch.compile(orthogonal, dynamic=False) if CUDA else orthogonal

    @torch.no_grad()
    def step(self, factor):
        for g in self.adam.param_groups:
            g["lr"] = self.lr_emb * factor
        self.adam.step()
        grads = [p.grad for p in self.mats]
        torch._foreach_lerp_(self.buf, grads, 1 - self.mu)
        ups = torch._foreach_lerp(grads, self.buf, self.mu)  # Nesterov
        torch._foreach_mul_(self.mats, 1 - self.lr * factor * self.decay)
        for members in self.groups.values():
            tall = [self.mats[i].shape[0] > self.mats[i].shape[1] for i in members]
            o = self.ortho(torch.stack([ups[i].mT if t else ups[i] for i, t in zip(members, tall)]))
            for i, t, u in zip(members, tall, o):
                p = self.mats[i]
                p.add_(u.mT if t else u, alpha=-self.lr * factor * math.sqrt(max(1.0, p.shape[0] / p.shape[1])))
        for p in self.mats:
            p.grad = None
        self.adam.zero_grad(set_to_none=True)


def schedule(step, total, warm=100, decay=0.4):
    """Warm-up, stable, linear decay to zero over the last 40 %."""
    return min(1.0, (step + 1) / warm, max(0.0, (total - step) / (decay * total)))


def check_attention():
    """The flash kernel with grouped heads against plain attention, forward and gradients; fails loudly."""
    torch.manual_seed(1)
    cu = torch.tensor([0, 5, 70, 300, 300, 512], dtype=torch.int32, device=DEV)
    q, k, v = (torch.randn(512, h, 64, device=DEV, dtype=DT, requires_grad=True) for h in (8, 4, 4))
    o = varlen(q, k, v, cu, 2048)
    w = torch.randn_like(o)
    got = (o, *torch.autograd.grad((o * w).sum(), (q, k, v)))
    qf, kf, vf = (x.detach().float().requires_grad_() for x in (q, k, v))
    seg = torch.bucketize(torch.arange(512, device=DEV), cu.long(), right=True)
    mask = (seg[:, None] == seg[None]) & torch.ones(512, 512, dtype=torch.bool, device=DEV).tril()
    s = torch.einsum("qhd,khd->hqk", qf, kf.repeat_interleave(2, 1)) / 8
    s = s.masked_fill(~mask, -1e30)
    r = torch.einsum("hqk,khd->qhd", s.softmax(-1), vf.repeat_interleave(2, 1))
    ref = (r, *torch.autograd.grad((r * w.float()).sum(), (qf, kf, vf)))
    errs = [((a.float() - b).norm() / b.norm()).item() for a, b in zip(got, ref)]
    print("attention check, relative errors", [f"{e:.1e}" for e in errs], flush=True)
    assert max(errs) < 1e-2
