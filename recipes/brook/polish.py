"""Teaches a trained model not to loop: answers sampled from the model itself, unlikelihood on the tokens that repeat.

On-policy rounds after Welleck et al. (2020), "Neural text generation with unlikelihood training", sequence level: sample
answers to training questions, find tokens that continue a repeated phrase (or repeat an item of a list), and minimise
−log(1 − p) there, with KL to the model as it was on all other tokens, and plain likelihood on the template dialogues.

    python3 polish.py --draw DIALOGUES.jsonl PROMPTS.jsonl.gz      16,000 first questions of the training text
    python3 polish.py MODEL.gguf PROMPTS.jsonl.gz OUT.pt [--rounds 3] [--steps 100]
"""

import argparse, gzip, json, multiprocessing, random, sys, time, numpy as np

N = 8  # a phrase is eight tokens


def repeats(ids):
    """Mask of the tokens that complete a phrase seen twice before, or once within the last 48 tokens."""
    seen, bad = {}, np.zeros(len(ids), bool)
    for t in range(N - 1, len(ids)):
        g = tuple(ids[t - N + 1 : t + 1])
        at = seen.setdefault(g, [])
        if len(at) >= 2 or (at and t - at[-1] <= 48):
            bad[t] = True
        at.append(t)
    return bad


def doubles(ids, text):
    """Mask of the lines of a list that repeat an earlier line; text[i] is token i's string."""
    bad = np.zeros(len(ids), bool)
    seen, start, lines = set(), 0, []
    for t in range(len(ids) + 1):
        if t == len(ids) or "Ċ" in text[ids[t]]:
            lines.append((start, t))
            start = t + 1
    for a, b in lines:
        while a < b and not any(c.isalpha() for c in text[ids[a]].replace("Ġ", "")):
            a += 1
        item = "".join(text[i] for i in ids[a:b]).lower().strip("Ġ.")
        if item and b - a <= 14 and item in seen:
            bad[a:b] = True
        seen.add(item)
    return bad, sum(b > a for a, b in lines)


def inspect(job):
    ids, n, listing, text = job
    a = ids[n:]
    bad = repeats(a)
    dup = False
    if listing:
        d, _ = doubles(a, TEXT)
        dup = bool(d.any())
        bad = bad | d
    return bad, dup


def start_pool(path):
    global TEXT
    import gguf_file

    TEXT = gguf_file.read(path)[0]["tokenizer.ggml.tokens"]
    return multiprocessing.get_context("fork").Pool()


def draw(path, out, most=16000):
    from heldout import question

    rows = [question(d) for d in map(json.loads, open(path, encoding="utf-8")) if not d.get("held")]
    rows = [m for m in rows if len(m[-1]["content"]) < 350]
    random.Random(4).shuffle(rows)
    with gzip.open(out, "wt", encoding="utf-8") as f:
        f.writelines(json.dumps(m, ensure_ascii=False) + "\n" for m in rows[:most])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("prompts")
    p.add_argument("out")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=100)
    p.add_argument("--rows", type=int, default=4096)
    p.add_argument("--batch", type=int, default=16384)
    p.add_argument("--lr", type=float, default=6e-5)
    p.add_argument("--alpha", type=float, default=0.3)
    p.add_argument("--length", type=int, default=640)
    o = p.parse_args()
    pool = start_pool(o.model)
    import dialogues

    rng = random.Random(11)
    ask = [json.loads(x) for x in gzip.open(o.prompts, "rt", encoding="utf-8")]
    rng.shuffle(ask)
    lists = [d for d in (dialogues.make("lists", 10**6 + i) for i in range(4000)) if d and not d.get("held")]
    lists = [d["messages"][: 1 + (d["messages"][0]["role"] == "system")] for d in lists]
    plain = [
        d
        for k, (_, n) in dialogues.KINDS.items()
        for d in (dialogues.make(k, 2 * 10**6 + i) for i in range(n // 30))
        if d and not d.get("held")
    ]
    rng.shuffle(plain)
    import torch, torch.nn.functional as F, pack
    from evaluate import model_of
    from model import CUDA, DEV
    from sample import Sampler

    torch.manual_seed(5)
    s = Sampler(o.model, o.rows, o.length, min_p=0, penalty=1)
    m, old = model_of(o.model), model_of(o.model).requires_grad_(False)
    tk = s.tk
    opt = torch.optim.AdamW(m.parameters(), lr=o.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=CUDA)
    total, done = o.rounds * o.steps, 0
    assistant = tk.encode("assistant").ids[0]
    plain = [np.array(tk.encode(pack.render(d["messages"]), add_special_tokens=False).ids) for d in plain]
    plain = [(x, pack.classes(x, assistant) == 1) for x in plain]

    def refresh():
        c = lambda *w: torch.cat(w).to(s.emb.dtype)
        s.emb.copy_(m.emb)
        s.nf.copy_(m.norm)
        for w, b in zip(s.layers, m.blocks):
            w["n1"].copy_(b["n1"])
            w["n2"].copy_(b["n2"])
            w["qkv"].copy_(c(b["q"], b["k"], b["v"]))
            w["o"].copy_(b["o"])
            w["gu"].copy_(c(b["gate"], b["up"]))
            w["down"].copy_(b["down"])

    for rnd in range(o.rounds):
        t0 = time.time()
        with torch.inference_mode():
            refresh()
            rows = []
            n_list = o.rows // 6
            qs = [(lists[rng.randrange(len(lists))], True) for _ in range(n_list)] + [
                (ask[(rnd * (o.rows - n_list) + i) % len(ask)], False) for i in range(o.rows - n_list)
            ]
            texts = [pack.render(q, prompt=True) for q, _ in qs]
            lens = [len(e.ids) for e in tk.encode_batch(texts, add_special_tokens=False)]
            keep = [i for i in range(o.rows) if lens[i] <= o.length // 4]
            s.done.fill_(1)
            s.put(keep, [dict(text=texts[i], role=1, turns=1, tu=1.0, ta=rng.uniform(0.5, 0.9)) for i in keep])
            for _ in range((o.length - 2) // 32):
                s.run(32)
            tok, pos, end = s.tok.cpu().numpy(), s.pos.cpu().numpy(), s.done.cpu().numpy()
        for j, i in enumerate(keep):
            rows.append((tok[i, : pos[i] + 2 if end[i] == 1 else pos[i] + 1].tolist(), lens[i], qs[i][1], None))
        found = pool.map(inspect, rows, chunksize=64)
        bad_rows = sum(b.any() for b, _ in found)
        nl = sum(r[2] for r in rows)
        print(
            f"round {rnd}: {len(rows)} answers, ended {np.mean([end[i] == 1 for i in keep]):.3f}, with a repeated phrase {bad_rows / len(rows):.3f}, lists with a double {sum(d for _, d in found) / max(1, nl):.3f}, tokens to unlearn {sum(b.sum() for b, _ in found)}, {time.time() - t0:.1f} s",
            flush=True,
        )
        data = [(np.array(r[0]), r[1], b) for r, (b, _) in zip(rows, found)]
        order = [i for i, d in enumerate(data) if d[2].any()] * 2 + rng.sample(range(len(data)), len(data) // 2)
        rng.shuffle(order)
        k = 0
        for _ in range(o.steps):
            x, bad, on, gold, cu = [], [], [], [], [0]
            while cu[-1] < o.batch - 2200:
                if rng.random() < 0.25:
                    ids, a = plain[rng.randrange(len(plain))]
                    g = a
                    b = np.zeros(len(ids), bool)
                    w = np.zeros(len(ids), bool)
                else:
                    ids, n, bb = data[order[k % len(order)]]
                    k += 1
                    b = np.concatenate([np.zeros(n, bool), bb])
                    w = np.arange(len(ids)) >= n
                    g = np.zeros(len(ids), bool)
                x.append(ids)
                bad.append(b)
                on.append(w & ~b)
                gold.append(g)
                cu.append(cu[-1] + len(ids))
            ids = torch.from_numpy(np.concatenate(x)).to(DEV)
            T = len(ids)
            pos = torch.from_numpy(np.concatenate([np.arange(len(v)) for v in x])).to(DEV)
            cut = torch.tensor(cu, dtype=torch.int32, device=DEV)
            t = lambda v: torch.from_numpy(np.concatenate(v)).to(DEV)[1:].float()
            y, b, w, g = ids[1:], t(bad), t(on), t(gold)
            lp = F.log_softmax(m.logits(m.hidden(ids, pos, cut, 1024))[:-1].float(), -1)
            with torch.no_grad():
                lq = F.log_softmax(old.logits(old.hidden(ids, pos, cut, 1024))[:-1].float(), -1)
            py = lp.gather(1, y[:, None])[:, 0]
            kl = (lq.exp() * (lq - lp)).sum(-1)
            un = -torch.log1p(-py.exp().clamp(max=1 - 1e-4))
            loss = (
                (kl * w).sum() / w.sum().clamp(min=1)
                + o.alpha * (un * b).sum() / b.sum().clamp(min=1)
                + 0.1 * (-py * g).sum() / g.sum().clamp(min=1)
            )
            loss.backward()
            for q in opt.param_groups:
                q["lr"] = o.lr * min(1, (done + 1) / 10, (total - done) / (0.5 * total))
            torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
            opt.step()
            opt.zero_grad(set_to_none=True)
            done += 1
            if done % 25 == 0:
                print(
                    f"step {done}/{total} kl {((kl * w).sum() / w.sum()).item():.4f} unlikelihood {((un * b).sum() / b.sum().clamp(min=1)).item():.3f} gold {((-py * g).sum() / g.sum().clamp(min=1)).item():.3f} {time.time() - t0:.1f} s",
                    flush=True,
                )
    torch.save({"config": m.c.__dict__, "state": m.state_dict(), "steps": done}, o.out)
    pool.terminate()


if __name__ == "__main__":
    draw(*sys.argv[2:]) if sys.argv[1] == "--draw" else main()
