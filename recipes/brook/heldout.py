"""Draws the evaluation set from the held-out dialogues: small, committed, and read by `npm run eval:builtin` too.

    python3 heldout.py OUT.jsonl.gz DIALOGUES.jsonl …

Lines: {"set": "first" | "list" | "json" | "sum" | "self", "messages": [… up to the first question], "check"?} and
{"set": "text", "kind", "messages"} for bits per byte.
"""

import gzip, json, random, sys

SIZES = {"first": 200, "list": 60, "json": 60, "sum": 100, "self": 60}


def question(d):
    m = d["messages"]
    i = next(i for i, x in enumerate(m) if x["role"] == "user")
    return m[: i + 1]


def draw(paths, seed=7):
    r = random.Random(seed)
    held = [d for p in paths for d in map(json.loads, open(p, encoding="utf-8")) if d.get("held")]
    r.shuffle(held)
    used, out = set(), []
    templates = {
        "self-id",
        "greet",
        "farewell",
        "smalltalk",
        "fun",
        "memory",
        "unknown",
        "facts",
        "sums",
        "comparison",
        "counting",
        "ordering",
        "lists",
        "exact-json",
        "correct",
        "echo",
    }

    def add(name, pool, n):
        for d in pool:
            q = question(d)
            key = (name, q[-1]["content"].lower().strip(" .!?"))
            if n and key not in used:
                used.add(key)
                n -= 1
                out.append(
                    {
                        "set": name,
                        "kind": d["kind"],
                        "messages": q,
                        **({"check": d["check"]} if "check" in d and name != "first" else {}),
                    }
                )

    by = lambda t: [d for d in held if d.get("check", {}).get("type") == t]
    add("first", [d for d in held if d["kind"] not in templates], 140)
    add("first", [d for d in held if d["kind"] in templates], 60)
    add("list", [d for d in by("list") if d["kind"] == "list"], 30)
    add(
        "list",
        [d for d in by("list") if d["kind"] == "lists" and d["check"]["format"] == "list"],
        60 - sum(x["set"] == "list" for x in out),
    )
    for name in ("json", "sum", "self"):
        add(name, by(name), SIZES[name])
    text = [d for d in held if d["kind"] not in templates][:240] + [d for d in held if d["kind"] in templates][:120]
    return out + [{"set": "text", "kind": d["kind"], "messages": d["messages"]} for d in text]


if __name__ == "__main__":
    rows = draw(sys.argv[2:])
    with gzip.GzipFile(sys.argv[1], "w", mtime=0) as f:
        f.write("".join(json.dumps(x, ensure_ascii=False) + "\n" for x in rows).encode())
    print({s: sum(x["set"] == s for x in rows) for s in (*SIZES, "text")})
