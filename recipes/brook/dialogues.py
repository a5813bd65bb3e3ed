"""Makes the template dialogues and splits every kind into training and held-out text.

`make(kind, seed)` gives one dialogue. The split hashes a dialogue's key (for sums the numbers, for lists topic and length,
else the question): 1 % is held out, 12 % of the questions about brook itself. A training dialogue holds no held-out key in
any of its turns.

    python3 dialogues.py COUNT_SCALE OUT.jsonl      writes all kinds, COUNT_SCALE × the counts below
"""

import hashlib, json, random, sys
import talk, tasks

KINDS = {  # kind: (function, dialogues at scale 1)
    "self-id": (talk.identity, 18000),
    "greet": (talk.greeting, 8000),
    "farewell": (talk.farewell, 7000),
    "smalltalk": (talk.smalltalk, 8000),
    "fun": (talk.fun, 5000),
    "memory": (talk.memory, 14000),
    "unknown": (talk.unknown, 10000),
    "facts": (talk.fact_turns, 16000),
    "sums": (tasks.sums, 60000),
    "comparison": (tasks.compare, 8000),
    "counting": (tasks.counting, 8000),
    "ordering": (tasks.ordering, 10000),
    "lists": (tasks.listing, 26000),
    "exact-json": (tasks.jsons, 26000),
    "correct": (tasks.correct, 5000),
    "echo": (tasks.echo, 6000),
}
SYSTEM = [
    "You are a helpful assistant.",
    "You are a friendly assistant who answers briefly.",
    "You are a helpful assistant. Keep answers short.",
    "You answer in simple words.",
    "You are Brook, a small helpful model.",
    "Answer briefly.",
    "You are a patient teacher.",
    "You are a careful assistant.",
    "Be friendly and short.",
    "You are a helpful AI assistant.",
]


def held(key, share=1):
    return int.from_bytes(hashlib.md5(key.encode()).digest()[:4], "little") % 1000 < share * 10


def make(kind, seed):
    r = random.Random(f"{kind}:{seed}")
    turns, keys, check = KINDS[kind][0](r)
    keys = [keys] if isinstance(keys, str) else keys
    share = 12 if kind == "self-id" else 1
    first, rest = held(keys[0], share), any(held(k, share) for k in keys[1:])
    if rest and not first:
        return None
    messages = []
    if r.random() < 0.18:
        messages.append({"role": "system", "content": r.choice(SYSTEM)})
    for i, (q, a) in enumerate(turns):
        if r.random() < 0.12 and not q.startswith(("I ", "I'")):
            q = q[0].lower() + q[1:]
        if r.random() < 0.10:
            q = q.rstrip(".?!") or q
        messages += [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
    d = {"kind": kind, "messages": messages}
    if first:
        d["held"] = True
    if first and check:
        d["check"] = check
    return d


def batch(job):
    kind, lo, hi = job
    out = []
    for s in range(lo, hi):
        d = make(kind, s)
        if d:
            out.append(json.dumps(d, ensure_ascii=False))
    return out


def jobs(scale):
    step = 500
    for kind, (_, n) in KINDS.items():
        n = max(20, int(n * scale))
        for lo in range(0, n, step):
            yield kind, lo, min(n, lo + step)


if __name__ == "__main__":
    from multiprocessing import Pool

    seen, n = set(), 0
    with Pool() as pool, open(sys.argv[2], "w") as f:
        for lines in pool.imap(batch, list(jobs(float(sys.argv[1])))):
            for line in lines:
                if line in seen:
                    continue
                seen.add(line)
                n += 1
                f.write(line + "\n")
    print("template dialogues", n)
