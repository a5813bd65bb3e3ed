"""Continuous-batch sampler on one GPU for a Llama-layout GGUF: the corpus from a teacher, or answers of our own models.

Every row is a small state machine on the GPU: forced tokens (template, prompt) are fed one a step, everything else is
sampled; when a turn ends, the next header is forced until the row's turns are used up. The whole step is one CUDA graph.
Finished rows are dumped and refilled by the host. Rows of the kind `self` let the model write the user's turn too (Magpie,
Xu et al. 2024).

    python3 sample.py TEACHER.gguf OUT.jsonl --rows 3072 --length 640 --seconds 120        (a smoke run on a CPU: --rows 8 --length 160 --seconds 40)
"""

import argparse, json, math, random, time, torch, torch.nn.functional as F
import gguf_file, prompts

try:
    import triton, triton.language as tl
except ImportError:
    triton = None
CUDA = torch.cuda.is_available()
DEV = "cuda" if CUDA else "cpu"
DT = torch.bfloat16 if CUDA else torch.float32

if triton:

    @triton.jit
    def decode_kernel(
        q, kc, vc, pos, out, sb, scale, D: tl.constexpr, G: tl.constexpr, KVH: tl.constexpr, BN: tl.constexpr
    ):
        """One new token a row: q [B, KVH·G, D] against caches [B, S, KVH, D] up to pos; a program per row and kv head."""
        b = tl.program_id(0)
        h = tl.program_id(1)
        n = tl.load(pos + b) + 1
        d = tl.arange(0, D)
        g = tl.arange(0, 16)
        gm = g < G
        qq = tl.load(q + b * (G * KVH * D) + (h * G + g)[:, None] * D + d[None, :], mask=gm[:, None], other=0.0)
        m = tl.full([16], -1e30, tl.float32)
        l = tl.zeros([16], tl.float32)
        acc = tl.zeros([16, D], tl.float32)
        base = b.to(tl.int64) * sb + h * D
        for s in range(0, n, BN):
            t = s + tl.arange(0, BN)
            tm = t < n
            k = tl.load(kc + base + t[:, None] * (KVH * D) + d[None, :], mask=tm[:, None], other=0.0)
            x = tl.where(tm[None, :], tl.dot(qq, tl.trans(k)) * scale, -1e30)
            mn = tl.maximum(m, tl.max(x, 1))
            a = tl.exp(m - mn)
            p = tl.exp(x - mn[:, None])
            v = tl.load(vc + base + t[:, None] * (KVH * D) + d[None, :], mask=tm[:, None], other=0.0)
            acc = acc * a[:, None] + tl.dot(p.to(v.dtype), v)
            l = l * a + tl.sum(p, 1)
            m = mn
        tl.store(
            out + b * (G * KVH * D) + (h * G + g)[:, None] * D + d[None, :],
            (acc / l[:, None]).to(out.dtype.element_ty),
            mask=gm[:, None],
        )


def tokenizer(meta):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    toks, types = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    assert meta["tokenizer.ggml.pre"] == "smollm"
    t = Tokenizer(
        models.BPE({s: i for i, s in enumerate(toks)}, [tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]])
    )
    t.decoder = decoders.ByteLevel()
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s, y in zip(toks, types) if y == 3])
    return t


class Sampler:
    END = 2  # <|im_end|>, in the teacher's vocabulary and in ours

    def __init__(self, path, rows, length, min_p=0.08, penalty=1.12):
        meta, w = gguf_file.read(path)
        g = lambda k: meta["llama." + k]
        self.meta, self.tk = meta, tokenizer(meta)
        self.L, self.H, self.G = g("block_count"), g("attention.head_count"), g("attention.head_count_kv")
        self.D = w["blk.0.attn_q.weight"].shape[0] // self.H
        self.FF, self.V, self.eps = (
            g("feed_forward_length"),
            len(meta["tokenizer.ggml.tokens"]),
            g("attention.layer_norm_rms_epsilon"),
        )
        t = lambda *n: torch.cat([torch.from_numpy(w[x + ".weight"]) for x in n]).to(DEV)
        f = lambda *n: t(*n).to(DT)
        self.layers = [
            dict(
                n1=t(f"blk.{i}.attn_norm"),
                qkv=f(f"blk.{i}.attn_q", f"blk.{i}.attn_k", f"blk.{i}.attn_v"),
                o=f(f"blk.{i}.attn_output"),
                n2=t(f"blk.{i}.ffn_norm"),
                gu=f(f"blk.{i}.ffn_gate", f"blk.{i}.ffn_up"),
                down=f(f"blk.{i}.ffn_down"),
            )
            for i in range(self.L)
        ]
        self.emb, self.nf = f("token_embd"), t("output_norm")
        self.B, self.S, self.min_p, self.penalty = rows, length, min_p, penalty
        z = lambda *s, dt=torch.int32: torch.zeros(*s, dtype=dt, device=DEV)
        self.k, self.v = (z(self.L, rows, length, self.G, self.D, dt=DT) for _ in range(2))
        self.tok = z(rows, length + 16) - 1  # behind pos: every token; ahead: forced ones, -1 = to be sampled
        self.pos, self.done, self.role, self.turns = (
            z(rows),
            z(rows) + 1,
            z(rows),
            z(rows),
        )  # done: 0 running, 1 ended, 2 full, 3 given up; role: 0 user speaks, 1 assistant
        self.tu, self.ta = torch.ones(rows, device=DEV), torch.ones(rows, device=DEV)
        self.bi = torch.arange(rows, device=DEV)
        ang = (
            torch.arange(length, device=DEV).float()[:, None]
            * (g("rope.freq_base") ** (-torch.arange(0, self.D, 2, device=DEV).float() / self.D))[None]
        )
        self.cos, self.sin = ang.cos(), ang.sin()
        self.seen = z(rows, self.V, dt=torch.bool)
        self.words = (
            torch.tensor(
                [any(c.isalpha() for c in s.replace("Ġ", "")) for s in meta["tokenizer.ggml.tokens"]], device=DEV
            )
            if penalty != 1
            else None
        )
        enc = lambda s: self.tk.encode(s, add_special_tokens=False).ids
        u, a = enc("\n<|im_start|>user\n"), enc("\n<|im_start|>assistant\n")
        n = max(len(u), len(a))
        self.hu, self.ha = (torch.tensor(x + [-1] * (n - len(x)), dtype=torch.int32, device=DEV) for x in (u, a))
        self.pick = torch.compile(self._pick, dynamic=False) if CUDA else self._pick
        self.graph = None

    def _rms(self, x, w):
        return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps) * w).to(DT)

    def _rope(self, x, c, s):
        a, b = x[..., 0::2].float(), x[..., 1::2].float()
        return torch.stack([a * c - b * s, a * s + b * c], -1).flatten(-2).to(DT)

    def _pick(self, lg, T, seen):
        z = lg.float()
        if seen is not None:
            z = torch.where(seen, torch.where(z > 0, z / self.penalty, z * self.penalty), z)
        z = z / T
        if self.min_p:
            z = torch.where(z >= z.amax(-1, keepdim=True) + math.log(self.min_p), z, -1e30)
        return torch.argmax(z - torch.log(-torch.log(torch.rand_like(z).clamp(1e-10, 1 - 1e-7))), -1)

    def step(self):
        B, H, G, D = self.B, self.H, self.G, self.D
        p = self.pos.long()
        t = self.tok.gather(1, p[:, None])[:, 0].clamp(min=0).long()
        x = F.embedding(t, self.emb)
        c, s = self.cos[p][:, None], self.sin[p][:, None]
        for i, w in enumerate(self.layers):
            h = F.linear(self._rms(x, w["n1"]), w["qkv"])
            q = self._rope(h[:, : H * D].view(B, H, D), c, s)
            self.k[i, self.bi, p] = self._rope(h[:, H * D : (H + G) * D].view(B, G, D), c, s)
            self.v[i, self.bi, p] = h[:, (H + G) * D :].view(B, G, D)
            if CUDA:
                o = torch.empty(B, H * D, dtype=DT, device=DEV)
                decode_kernel[(B, G)](
                    q.contiguous(),
                    self.k[i],
                    self.v[i],
                    self.pos,
                    o,
                    self.S * G * D,
                    D**-0.5,
                    D,
                    H // G,
                    G,
                    64,
                    num_warps=2,
                )
            else:
                r = lambda y: y[i].transpose(1, 2).repeat_interleave(H // G, 1)
                o = F.scaled_dot_product_attention(
                    q[:, :, None],
                    r(self.k),
                    r(self.v),
                    attn_mask=(torch.arange(self.S)[None] <= p[:, None])[:, None, None],
                ).reshape(B, H * D)
            x = x + F.linear(o, w["o"])
            gu = F.linear(self._rms(x, w["n2"]), w["gu"])
            x = x + F.linear(F.silu(gu[:, : self.FF]) * gu[:, self.FF :], w["down"])
        self._advance(
            self.pick(
                F.linear(self._rms(x, self.nf), self.emb),
                torch.where(self.role == 0, self.tu, self.ta)[:, None],
                self.seen & self.words if self.words is not None else None,
            )
        )

    def _advance(self, nxt):
        p = self.pos.long() + 1
        forced = self.tok.gather(1, p[:, None])[:, 0]
        live = self.done == 0
        new = torch.where(forced >= 0, forced, nxt.to(torch.int32))
        ended = (forced < 0) & (new <= 2) & live
        new = torch.where(ended, self.END, new)
        self.tok.scatter_(1, p[:, None], torch.where(live, new, forced)[:, None])
        if self.words is not None:
            self.seen[self.bi, new.long()] = live & (forced < 0)
            self.seen.masked_fill_(ended[:, None], False)
        au, aa = ended & (self.role == 0), ended & (self.role == 1)
        self.turns -= aa.int()
        fin = aa & (self.turns <= 0)
        cont = aa & ~fin
        at = (p[:, None] + 1 + torch.arange(self.hu.numel(), device=DEV)[None]).clamp(max=self.S + 15)
        self.tok.scatter_(
            1,
            at,
            torch.where(au[:, None], self.ha[None], torch.where(cont[:, None], self.hu[None], self.tok.gather(1, at))),
        )
        self.role.copy_(torch.where(au, 1, torch.where(cont, 0, self.role)).int())
        self.done.copy_(torch.where(fin & live, 1, torch.where((p >= self.S - 2) & live, 2, self.done)).int())
        self.pos.copy_(torch.where(live & (self.done == 0), p.int(), self.pos))

    def put(self, rows, drawn):
        """Starts rows: drawn holds text, role, turns, tu and ta of each."""
        tok = torch.full((len(rows), self.S + 16), -1, dtype=torch.int32)
        for j, d in enumerate(drawn):
            ids = self.tk.encode(d["text"], add_special_tokens=False).ids[: self.S - 8]
            tok[j, : len(ids)] = torch.tensor(ids, dtype=torch.int32)
        r = torch.tensor(rows, device=DEV)
        self.tok[r] = tok.to(DEV)
        col = lambda k, dt: torch.tensor([d[k] for d in drawn], dtype=dt, device=DEV)
        self.role[r], self.turns[r], self.tu[r], self.ta[r] = (
            col("role", torch.int32),
            col("turns", torch.int32),
            col("tu", torch.float32),
            col("ta", torch.float32),
        )
        self.pos[r] = 0
        self.done[r] = 0
        self.seen[r] = False

    def run(self, steps):
        if CUDA and self.graph is None:
            st = torch.cuda.Stream()
            st.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(st):
                for _ in range(3):
                    self.step()
            torch.cuda.current_stream().wait_stream(st)
            torch.cuda.synchronize()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.step()
        for _ in range(steps):
            self.graph.replay() if self.graph else self.step()

    def cut_loops(self):
        """Gives up rows whose last 24 tokens repeat with any period up to 60."""
        w = self.tok.gather(1, (self.pos[:, None] - torch.arange(95, -1, -1, device=DEV)[None]).clamp(min=0).long())
        hit = torch.zeros(self.B, dtype=torch.bool, device=DEV)
        for lag in range(1, 61):
            hit |= (w[:, -24:] == w[:, 72 - lag : 96 - lag]).all(1)
        self.done.masked_fill_(hit & (self.pos > 96) & (self.done == 0), 3)

    def ended(self):
        done = self.done.cpu().tolist()
        return [i for i in range(self.B) if done[i]], done

    def texts(self, rows):
        r = torch.tensor(rows, device=DEV)
        d = self.done[r].cpu().tolist()
        n = self.pos[r].cpu().tolist()
        ids = [t[: q + 2] if e == 1 else t[: q + 1] for t, q, e in zip(self.tok[r].cpu().tolist(), n, d)]
        return self.tk.decode_batch(ids, skip_special_tokens=False), n


def corpus(o):
    torch.manual_seed(o.seed)
    rng = random.Random(o.seed)
    s = Sampler(o.model, o.rows, o.length)
    drawn = [None] * o.rows
    n_out = n_tok = 0
    kinds = {}

    def refill(rows):
        for i in rows:
            drawn[i] = prompts.draw(rng)
        s.put(rows, [drawn[i] for i in rows])

    with torch.inference_mode(), open(o.out, "w", encoding="utf-8") as f:
        refill(list(range(o.rows)))
        s.run(1)
        t0 = last = time.time()
        steps = 0
        while time.time() - t0 < o.seconds:
            s.run(32 if CUDA else 8)
            steps += 32 if CUDA else 8
            s.cut_loops()
            rows, done = s.ended()
            if rows:
                for i, x, n in zip(rows, *s.texts(rows)):
                    f.write(json.dumps({"k": drawn[i]["kind"], "e": done[i], "x": x}, ensure_ascii=False) + "\n")
                    n_out += 1
                    n_tok += n + 1
                refill(rows)
            if time.time() - last > 20:
                last = time.time()
                print(
                    f"{last - t0:.0f} s, {(last - t0) / steps * 1e3:.2f} ms a step, {n_out} dialogues, {n_tok / (last - t0):.0f} tokens/s",
                    flush=True,
                )
    print(f"done: {n_out} dialogues, {n_tok} tokens, {n_tok / (time.time() - t0):.0f} tokens/s")


if __name__ == "__main__":
    a = argparse.ArgumentParser()
    a.add_argument("model")
    a.add_argument("out")
    a.add_argument("--rows", type=int, default=3072)
    a.add_argument("--length", type=int, default=640)
    a.add_argument("--seconds", type=float, default=120)
    a.add_argument("--seed", type=int, default=1)
    corpus(a.parse_args())
