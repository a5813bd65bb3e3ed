"""Judges a GGUF of ours on the GPU: answers to the held-out questions at temperature 0.6, bits per byte, what Q8_0 lost, agreement.

    python3 evaluate.py MODEL.gguf HELDOUT.jsonl.gz REPORT.json [--weights MODEL.pt] [--draft RILL.gguf]

The shares are defined in `judge`; test/support/builtin-judges.ts defines them alike.
"""

import argparse, gzip, json, math, random, re, time, torch, torch.nn.functional as F
import export, pack
from model import CUDA, DEV, Config, Llama
from sample import Sampler
import gguf_file

LIMIT = 512


def loops(text):
    """Eight words in a row stand there three times, or a phrase follows itself at least twice over twelve words or more."""
    w = text.lower().split()
    n = {}
    for i in range(len(w) - 7):
        k = tuple(w[i : i + 8])
        n[k] = n.get(k, 0) + 1
    w = re.findall(r"[^\W\d_]+", text.lower())
    for period in range(1, 41):
        same = 0
        for i in range(period, len(w)):
            same = same + 1 if w[i] == w[i - period] else 0
            if same >= 2 * period and same + period >= 12:
                return True
    return any(v >= 3 for v in n.values())


def judge(check, answer):
    kind = check["type"]
    if kind == "self":
        return "brook" in answer.lower()
    if kind == "sum":
        n = re.findall(r"-?\d+", answer.replace(",", ""))
        return bool(n) and int(n[-1]) == check["answer"]
    if kind == "json":
        m = re.fullmatch(r"\s*```(?:json)?\s*(.*?)\s*```\s*", answer, re.S)
        try:
            return isinstance(json.loads(m.group(1) if m else answer), (dict, list))
        except ValueError:
            return False
    lines = [x.strip() for x in answer.split("\n") if x.strip()]
    marked = [x for x in lines if re.match(r"(\d+[.)]|[-*•])\s+\S", x)]
    items = [re.sub(r"^(\d+[.)]|[-*•])\s+", "", x).lower() for x in (marked or lines)]
    return len(items) == check["n"]


def answers(path, rows, temperature):
    s = Sampler(path, len(rows), LIMIT + 256, min_p=0, penalty=1)
    texts = [pack.render(x["messages"], prompt=True) for x in rows]
    lens = [len(s.tk.encode(t, add_special_tokens=False).ids) for t in texts]
    with torch.inference_mode():
        s.put(list(range(len(rows))), [dict(text=t, role=1, turns=1, tu=1.0, ta=max(temperature, 1e-4)) for t in texts])
        s.run(1)
        t0 = time.time()
        for _ in range((LIMIT + max(lens)) // 32 + 1):
            s.run(32)
            if (s.done > 0).all():
                break
        full, _ = s.texts(list(range(len(rows))))
        done = s.done.tolist()
        pos = s.pos.tolist()
    print(f"{len(rows)} answers in {time.time() - t0:.1f} s", flush=True)
    out = []
    for x, t, d, p, n in zip(rows, full, done, pos, lens):
        a = t.rsplit("<|im_start|>assistant\n", 1)[1]
        new = p + 2 - n
        out.append({**x, "answer": a.removesuffix("<|im_end|>"), "tokens": new, "ended": d == 1 and new <= LIMIT})
    return out


@torch.no_grad()
def nll(model, tk, dialogues):
    """(negative log-likelihood in nats, bytes) of the assistants' words and their ends."""
    assistant = tk.encode("assistant").ids[0]
    total, size = 0.0, 0
    for d in dialogues:
        ids = tk.encode(pack.render(d["messages"]), add_special_tokens=False).ids[:2048]
        c = torch.from_numpy(pack.classes(ids, assistant)).to(DEV) == 1
        x = torch.tensor(ids, device=DEV)
        cu = torch.tensor([0, len(ids) - 1], dtype=torch.int32, device=DEV)
        ce = model.losses(x[:-1], x[1:], torch.arange(len(ids) - 1, device=DEV), cu)
        total += (ce * c[1:]).sum().item()
        size += sum(len(m["content"].strip().encode()) for m in d["messages"] if m["role"] == "assistant")
    return total, size


@torch.no_grad()
def agreement(a, b, tk, dialogues):
    assistant = tk.encode("assistant").ids[0]
    hit = n = 0
    for d in dialogues:
        ids = tk.encode(pack.render(d["messages"]), add_special_tokens=False).ids[:2048]
        c = torch.from_numpy(pack.classes(ids, assistant)).to(DEV)[1:] == 1
        x = torch.tensor(ids, device=DEV)[:-1]
        cu = torch.tensor([0, len(x)], dtype=torch.int32, device=DEV)
        p = torch.arange(len(x), device=DEV)
        e = a.logits(a.hidden(x, p, cu)).argmax(-1) == b.logits(b.hidden(x, p, cu)).argmax(-1)
        hit += (e & c).sum().item()
        n += c.sum().item()
    return hit / n


def model_of(path):
    m, _ = gguf_file.read(path)
    g = lambda k: m["llama." + k]
    c = Config(
        m["general.name"].lower(),
        g("embedding_length"),
        g("block_count"),
        g("attention.head_count"),
        g("attention.head_count_kv"),
        g("feed_forward_length"),
        g("rope.dimension_count"),
        g("vocab_size"),
    )
    x = Llama(c)
    x.load_state_dict(export.restore(path, c))
    return x.to(DEV).eval()


def main():
    a = argparse.ArgumentParser()
    a.add_argument("model")
    a.add_argument("heldout")
    a.add_argument("report")
    a.add_argument("--weights")
    a.add_argument("--draft")
    a.add_argument("--limit", type=int)
    o = a.parse_args()
    torch.manual_seed(3)
    rows = [json.loads(x) for x in gzip.open(o.heldout, "rt", encoding="utf-8")]
    ask = [x for x in rows if x["set"] != "text"][: o.limit]
    text = [x for x in rows if x["set"] == "text"][: o.limit]
    rep = {}
    got = answers(o.model, ask, 0.6)
    first = [x for x in got if x["set"] == "first"]
    rep["ended"] = sum(x["ended"] for x in first) / max(1, len(first))
    rep["loops"] = sum(loops(x["answer"]) for x in first) / max(1, len(first))
    for s in ("list", "json", "sum", "self"):
        g = [x for x in got if x["set"] == s]
        for x in g:
            x["right"] = judge(x["check"], x["answer"])
        rep[s] = sum(x["right"] for x in g) / max(1, len(g))
    from sample import tokenizer

    tk = tokenizer(gguf_file.read(o.model)[0])
    m = model_of(o.model)
    n, b = nll(m, tk, text)
    rep["bits_per_byte"] = n / b / math.log(2)
    if o.weights:
        s = torch.load(o.weights, map_location="cpu")
        f = Llama(Config(**s["config"]))
        f.load_state_dict(s["state"])
        f = f.to(DEV)
        n2, _ = nll(f, tk, text)
        rep["bits_per_byte_trained"] = n2 / b / math.log(2)
        rep["agreement_q8_0_trained"] = agreement(m, f, tk, text)
    if o.draft:
        rep["draft_agreement"] = agreement(m, model_of(o.draft), tk, text)
    json.dump({"report": rep, "answers": got}, open(o.report, "w"), ensure_ascii=False, indent=1)
    print({k: round(v, 4) for k, v in rep.items()}, flush=True)


if __name__ == "__main__":
    main()
