"""Text that heads learn from: brook's own answers, so that drafts match what they will be compared with.

Questions are those of brook's training text (a draw of the dialogues and the templates); answers are sampled by
recipes/brook's sampler, two in five of them as good as greedily, the others at temperatures between 0.3 and 1.

    python3 data.py --draw CHAT_DIR PROMPTS.jsonl.gz                     40,000 first questions, once (CHAT_DIR: chat-*.jsonl.xz)
    python3 data.py BROOK.gguf PROMPTS.jsonl.gz OUT.npz --seconds 45     the training text
    python3 data.py BROOK.gguf QUESTIONS.jsonl … OUT.npz --held          greedy answers to every question, for measure()
"""

import argparse, glob, gzip, json, lzma, os, random, sys, time
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../brook"))


def draw(folder, out, most=40000):
    asked = []
    for path in sorted(glob.glob(f"{folder}/chat-*.jsonl.xz")):
        for line in lzma.open(path, "rt", encoding="utf-8"):
            messages = json.loads(line)["messages"]
            at = next(i for i, m in enumerate(messages) if m["role"] == "user")
            if len(messages[at]["content"]) < 400:
                asked.append(messages[: at + 1])
    random.Random(4).shuffle(asked)
    with gzip.open(out, "wt", encoding="utf-8") as f:
        f.writelines(json.dumps(m, ensure_ascii=False) + "\n" for m in asked[:most])


def templates(rng):
    """First questions by template, in brook's own proportions, endlessly."""
    import dialogues

    kinds, counts = zip(*((kind, n) for kind, (_, n) in dialogues.KINDS.items()))
    while True:
        d = dialogues.make(rng.choices(kinds, counts)[0], 10**7 + rng.randrange(10**7))
        if d and not d.get("held"):
            messages = d["messages"]
            users = [i for i, m in enumerate(messages) if m["role"] == "user"]
            # One in three goes on after some turns.
            yield messages[: (users[0] if rng.random() < 0.67 else rng.choice(users)) + 1]


def questions(paths):
    """Of spec-bench-dev.jsonl and vicuna-80.jsonl ({"turns"}), or of brook's held-out set ({"messages"})."""
    for path in paths:
        for line in (gzip.open if path.endswith("gz") else open)(path, "rt", encoding="utf-8"):
            row = json.loads(line)
            if "turns" in row:
                yield [{"role": "user", "content": row["turns"][0]}]
            elif row.get("set") == "first":
                yield row["messages"]


def answer(model, ask, rows, length, seconds, temperature):
    """Lists (ids, length of the prompt), for as long as `ask` gives messages and seconds are left."""
    import pack, torch
    from sample import CUDA, Sampler

    s = Sampler(model, rows, length, min_p=0.0, penalty=1)
    out, lens, open_rows = [], [0] * rows, set()

    def fill(free):
        while free:
            got = [m for m, _ in zip(ask, free)]
            if not got:
                return
            texts = [pack.render(m, prompt=True) for m in got]
            counts = [len(e.ids) for e in s.tk.encode_batch(texts, add_special_tokens=False)]
            ok = [i for i, n in enumerate(counts) if n < length - 64]
            use, free = free[: len(ok)], free[len(ok) :]
            for row, i in zip(use, ok):
                lens[row] = counts[i]
            open_rows.update(use)
            if use:
                s.put(use, [dict(text=texts[i], role=1, turns=1, tu=1.0, ta=temperature()) for i in ok])

    with torch.inference_mode():
        fill(list(range(rows)))
        s.run(1)
        began = time.time()
        while open_rows and time.time() - began < seconds:
            s.run(32 if CUDA else 8)
            s.cut_loops()
            ended = [i for i in s.ended()[0] if i in open_rows]
            if not ended:
                continue
            tok, pos, done = (x[torch.tensor(ended, device=x.device)].cpu().numpy() for x in (s.tok, s.pos, s.done))
            for j, row in enumerate(ended):
                out.append((tok[j, : pos[j] + (2 if done[j] == 1 else 1)].astype(np.uint16), lens[row]))
            open_rows.difference_update(ended)
            fill(ended)
    n = sum(len(x) for x, _ in out)
    print(f"{len(out)} answers, {n} tokens, {time.time() - began:.1f} s", flush=True)
    return out


def save(path, found):
    np.savez(
        path,
        ids=np.concatenate([x for x, _ in found]),
        lengths=np.array([len(x) for x, _ in found]),
        prompts=np.array([n for _, n in found]),
    )


def main():
    a = argparse.ArgumentParser()
    a.add_argument("model")
    a.add_argument("files", nargs="+")
    a.add_argument("--held", action="store_true")
    a.add_argument("--seconds", type=float, default=45)
    a.add_argument("--rows", type=int, default=6144)
    a.add_argument("--length", type=int, default=512)
    a.add_argument("--limit", type=int, default=10**9)
    o = a.parse_args()
    *files, out = o.files
    rng = random.Random(17)
    if o.held:
        asked = list(questions(files))[: o.limit]
        save(out, answer(o.model, iter(asked), min(o.rows, len(asked)), o.length, o.seconds, lambda: 0.01))
        return
    chat = [json.loads(x) for x in gzip.open(files[0], "rt", encoding="utf-8")]
    template = templates(rng)

    def ask():
        while True:
            rng.shuffle(chat)
            for messages in chat:
                yield messages
                yield next(template)

    warmth = lambda: 0.01 if rng.random() < 0.4 else rng.uniform(0.3, 1.0)
    save(out, answer(o.model, ask(), o.rows, o.length, o.seconds, warmth))


if __name__ == "__main__":
    draw(*sys.argv[2:]) if sys.argv[1] == "--draw" else main()
