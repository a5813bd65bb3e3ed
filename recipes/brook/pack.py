"""Packs dialogues as tokens, once, before any training: flat uint16 ids, a loss class for each, and where dialogues begin.

Classes: 0 no loss (headers, what follows an end), 1 the assistant's words and its <|im_end|>, 2 everybody else's words.
Batches hold whole dialogues; each attends to itself only (variable-length attention), its positions start at 0.

    python3 pack.py TOKENIZER.json OUT_DIR DIALOGUES.jsonl …
"""

import json, os, sys, threading, queue
import numpy as np

END, START, STOP = 0, 1, 2  # <|endoftext|>, <|im_start|>, <|im_end|>
CONTEXT = 2048


def render(messages, prompt=False):
    t = "".join(f"<|im_start|>{m['role']}\n{m['content'].strip()}<|im_end|>\n" for m in messages)
    return t + "<|im_start|>assistant\n" if prompt else t


def classes(ids, assistant):
    """Loss classes of one dialogue's ids; a message is <|im_start|> role \\n words <|im_end|> \\n."""
    ids = np.asarray(ids)
    w = np.zeros(len(ids), np.uint8)
    a = np.flatnonzero(ids == START)
    b = np.flatnonzero(ids == STOP)
    for s, e in zip(a, b):
        w[s + 3 : e + 1] = 1 if ids[s + 1] == assistant else 2
    return w


def pack(tokenizer, paths, out):
    from tokenizers import Tokenizer

    tk = Tokenizer.from_file(tokenizer)
    assistant = tk.encode("assistant", add_special_tokens=False).ids
    assert len(assistant) == 1 and len(tk.encode("\n").ids) == 1
    os.makedirs(out, exist_ok=True)
    parts = {s: ([], [], [], []) for s in ("train", "held")}
    chars = 0
    batch = []

    def flush():
        for (d, raw), e in zip(
            batch, tk.encode_batch([b[1] or render(b[0]["messages"]) for b in batch], add_special_tokens=False)
        ):
            if raw:
                ids = np.array(e.ids + [END], np.uint16)
                w = np.ones(len(ids), np.uint8)
            else:
                ids = np.array(e.ids, np.uint16)
                w = classes(ids, assistant[0])
            if len(ids) > CONTEXT:
                continue
            p = parts["held" if d.get("held") else "train"]
            p[0].append(ids)
            p[1].append(w)
            p[2].append(len(ids))
            p[3].append(d["messages"][0]["role"] == "system")
        batch.clear()

    n = 0
    for path in paths:
        for line in open(path, encoding="utf-8"):
            d = json.loads(line)
            batch.append((d, None))
            n += 1
            chars += len(line)
            if (
                not d.get("held") and d["kind"] in ("story", "explain", "poem") and n % 6 == 0
            ):  # plain text, so that a raw prompt is continued
                batch.append((d, d["messages"][-1]["content"].strip()))
            if len(batch) >= 20000:
                flush()
    flush()
    for s, (ids, w, ln, sy) in parts.items():
        np.concatenate(ids).tofile(f"{out}/{s}.ids")
        np.concatenate(w).tofile(f"{out}/{s}.cls")
        np.save(f"{out}/{s}.len.npy", np.array(ln, np.int32))
        np.save(f"{out}/{s}.sys.npy", np.array(sy))
        print(
            s,
            "dialogues",
            len(ln),
            "tokens",
            sum(ln),
            "of the assistant",
            int((np.concatenate(w) == 1).sum()),
            flush=True,
        )
    print("characters per token", chars / sum(sum(p[2]) for p in parts.values()))


class Batches:
    """Endless shuffled batches of `size` tokens, prepared on a thread. Flash attention launches work for every (segment, block
    of the longest), so batches come in two shapes: seven of eight hold segments of at most 1,024 tokens (single dialogues; one
    in eight starts a chain of several joined into one conversation), every eighth holds chains of up to 2,048 tokens, so that
    late positions and changes of subject are seen too."""

    LONG_EVERY = 8

    def __init__(self, folder, split, size, seed=0, user_weight=0.15, chains=0.12, once=False):
        self.ids = np.fromfile(f"{folder}/{split}.ids", np.uint16)
        self.cls = np.fromfile(f"{folder}/{split}.cls", np.uint8)
        self.len = np.load(f"{folder}/{split}.len.npy")
        self.sys = np.load(f"{folder}/{split}.sys.npy")
        self.at = np.concatenate([[0], np.cumsum(self.len.astype(np.int64))])
        self.size, self.rng, self.chains, self.once = size, np.random.default_rng(seed), chains, once
        self.total, self.used = int(self.len.sum()), 0
        self.short = (CONTEXT, size // 128) if once else (CONTEXT // 2, size // 128)
        self.long = (CONTEXT, max(8, size // 512))
        self.follow = np.flatnonzero(~self.sys)
        self.tall = []
        self.weight = np.array([0, 1, user_weight], np.float32)
        self.q = queue.Queue(8)
        threading.Thread(target=self._fill, daemon=True).start()

    @property
    def epoch(self):
        return self.used / self.total

    def _segments(self):
        """Lists of dialogue numbers, each list one attention segment of a short batch; taller dialogues go to self.tall."""
        most = self.short[0]
        while True:
            order = self.rng.permutation(len(self.len))
            i = 0
            while i < len(order):
                seg = [order[i]]
                total = int(self.len[order[i]])
                i += 1
                if total > most:
                    self.tall.append(seg[0])
                    continue
                if self.rng.random() < self.chains:
                    k = self.rng.integers(2, 9)
                    while (
                        i < len(order)
                        and len(seg) < k
                        and not self.sys[order[i]]
                        and total + self.len[order[i]] <= most
                    ):
                        seg.append(order[i])
                        total += int(self.len[order[i]])
                        i += 1
                yield seg, total
            if self.once:
                return

    def _chain(self):
        seg = [self.tall.pop() if self.tall else int(self.rng.integers(len(self.len)))]
        total = int(self.len[seg[0]])
        while True:
            j = int(self.rng.choice(self.follow))
            if total + self.len[j] > CONTEXT:
                return seg, total
            seg.append(j)
            total += int(self.len[j])

    def _fill(self):
        segs, room, n = [], self.size, 0

        def put(segs, shape):
            self.used += sum(t for _, t in segs)
            self.q.put(self._build(segs, shape))

        for seg, total in self._segments():
            if total > room or len(segs) + room // self.short[0] >= self.short[1] - 2:
                put(segs, self.short)
                segs, room = [], self.size
                n += 1
                if not self.once and n % (self.LONG_EVERY - 1) == 0:
                    chain, left = [], self.size
                    while True:
                        c = self._chain()
                        if c[1] > left:
                            break
                        chain.append(c)
                        left -= c[1]
                    put(chain, self.long)
            segs.append((seg, total))
            room -= total
        put(segs, self.short)
        self.q.put(None)

    def _build(self, segs, shape):
        longest, docs = shape
        n = self.size
        x = np.zeros(n + 1, np.int64)
        c = np.zeros(n + 1, np.uint8)
        pos = np.zeros(n, np.int32)
        cu = [0]
        at = 0
        for seg, total in segs:
            p = at
            for j in seg:
                a, b = self.at[j], self.at[j + 1]
                x[p : p + b - a] = self.ids[a:b]
                c[p : p + b - a] = self.cls[a:b]
                p += b - a
            c[at] = 0
            pos[at:p] = np.arange(total)
            at = p
            cu.append(at)
        while at < n:
            s = min(longest, n - at)
            pos[at : at + s] = np.arange(s)
            at += s
            cu.append(at)  # filling without loss
        cu += [n] * (docs + 1 - len(cu))
        ln = np.diff(cu)
        assert len(cu) == docs + 1
        return (
            x[:-1],
            x[1:],
            self.weight[c[1:]],
            (c[1:] == 1),
            pos,
            np.array(cu, np.int32),
            longest,
            float((ln.astype(np.float64) ** 2).sum() / n),
        )

    def get(self):
        return self.q.get()


if __name__ == "__main__":
    pack(sys.argv[1], sys.argv[3:], sys.argv[2])
