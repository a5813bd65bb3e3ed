"""Filters sampled dialogues a second time: drops the kinds that the templates replace, answers that claim to be somebody,
answers too long to end within 512 tokens, answers that repeat an earlier one, facts that pools.py knows to be wrong, and
lists of another length than asked (longer ones are cut where the list ends the answer).

    python3 filter.py OUT.jsonl CHAT.jsonl[.xz] …      (dialogues, or raw lines of sample.py)
"""

import collections, hashlib, json, lzma, re, sys
from dialogues import held
from pools import ANIMALS, COLORS_OF, COUNTRIES, NUMBER_WORDS

DROP = {"arith", "classify", "json"}  # the templates do these right
OWN = re.compile(
    r"^(hi|hello|hey|greetings|good (morning|evening|afternoon|night|day)|howdy)\b|\b(who|what) are you\b|your name|are you (a|an) |what can you do|how do you work|tell me (a|an)? ?(joke|riddle)|^let'?s talk|can you help me\.?\??$|^thank|say something nice|i need some motivation|i can'?t sleep|i had a long day|what should i do today|meaning of life|do you like |something interesting|opposite of|synonym for|^correct the grammar|^i (feel|am) \w+( today)?\.?$|what color is|how many legs",
    re.I,
)
CLAIM = re.compile(
    r"SmolLM|Hugging ?Face|OpenAI|ChatGPT|GPT-|As an AI|as a (large )?language model|I'?m an? AI|I am an? AI|<\|[a-z_]+\|>|�|my name is|I'?ve been working|I'?m (a|an) (professional|expert|student|writer|teacher|designer|developer)|AI assistant|\bI am here to (answer|assist|help)|\[(insert|your)|sorry for (any|the|your) (confusion|mis)",
    re.I,
)
FICTION = {"story", "poem", "dialogue"}


def grams(text, n):
    w = re.findall(r"\w+", text.lower())
    return [tuple(w[i : i + n]) for i in range(len(w) - n + 1)]


def looping(text):
    g = grams(text, 4)
    if len(g) >= 12 and 1 - len(set(g)) / len(g) > 0.10:
        return True
    starts = collections.Counter(
        " ".join(s.split()[:3]) for s in re.split(r"[.!?\n]+\s*", text.lower()) if len(s.split()) >= 5
    )
    return bool(starts) and starts.most_common(1)[0][1] >= 5


def fact_ok(q, a):
    """False where a fact that we know is asked and the answer lacks it."""
    low = q.lower()
    al = a.lower()
    if m := re.search(r"capital of ([A-Za-z ]+)", q):
        c = m.group(1).strip()
        return c not in COUNTRIES or COUNTRIES[c][0].lower() in al
    if m := re.search(r"what language do people speak in ([A-Za-z ]+)", q, re.I):
        c = m.group(1).strip()
        return c not in COUNTRIES or COUNTRIES[c][2].split()[0].lower() in al
    if m := re.search(r"where is ([A-Za-z ]+)", q, re.I):
        c = m.group(1).strip()
        return c not in COUNTRIES or COUNTRIES[c][1].split()[-1].lower() in al
    return "who invented" not in low


def fit_list(q, a):
    """The answer with a list of the asked length, or None."""
    m = re.search(r"\b(\d+|two|three|four|five|six|seven|eight|nine|ten)\b", q.lower())
    if not m:
        return a
    n = int(m.group(1)) if m.group(1).isdigit() else NUMBER_WORDS.index(m.group(1))
    lines = a.split("\n")
    at = [i for i, x in enumerate(lines) if re.match(r"\s*(\d+[.)]|[-*•])\s+\S", x)]
    if not at:
        return None
    if len(at) > n:
        lines = lines[: at[n]]
        at = at[:n]
    if len(at) != n:
        return None
    lines = lines[: at[-1] + 1]  # what follows the list is talk
    if any(re.match(r"\s*\d", lines[i]) and not re.match(rf"\s*{j + 1}[.)]", lines[i]) for j, i in enumerate(at)):
        return None
    if len({re.sub(r"\W+", " ", lines[i]).split(" ", 2)[-1].lower()[:40] for i in at}) < n:
        return None
    return "\n".join(lines).strip()


def clean(d):
    kind = d["kind"]
    if kind in DROP:
        return None
    out, seen = [], set()
    ms = d["messages"]
    if ms[0]["role"] == "system":
        out.append(ms[0])
        ms = ms[1:]
    for u, a in zip(ms[::2], ms[1::2]):
        q, t = u["content"].strip(), a["content"].strip()
        if len(q) > 500 or OWN.search(q) or CLAIM.search(q):
            break
        if (kind not in FICTION and CLAIM.search(t)) or re.search(r"SmolLM|Hugging ?Face|ChatGPT|OpenAI", t):
            break
        if not 2 <= len(t) <= (2250 if kind == "story" else 2150) or looping(t):
            break
        if t[-1] not in ".!?\"')]}`*:|" and len(t) > 200 and not re.search(r"\n\s*(\d+[.)]|[-*])[^\n]*$", t):
            break
        if t.lower() == q.lower() or not fact_ok(q, t):
            break
        g = set(grams(t, 6))
        if g and len(g & seen) > 0.15 * len(g):
            break
        seen |= g
        if kind == "list":
            t = fit_list(q, t)
            if t is None:
                break
        out += [{"role": "user", "content": q}, {"role": "assistant", "content": t}]
    return out if any(m["role"] == "assistant" for m in out) else None


def parsed(d):
    """A raw line of sample.py as a dialogue: closed turns only, without the system line that named the teacher."""
    ms = [
        {"role": r, "content": t.strip()}
        for r, t in re.findall(r"<\|im_start\|>(system|user|assistant)\n(.*?)<\|im_end\|>", d["x"], re.S)
    ]
    if ms and ms[0]["role"] == "system" and "SmolLM" in ms[0]["content"]:
        ms = ms[1:]
    s = int(bool(ms) and ms[0]["role"] == "system")
    n = 0
    while [m["role"] for m in ms[s + 2 * n : s + 2 * n + 2]] == ["user", "assistant"]:
        n += 1
    return {"kind": d["k"], "messages": ms[: s + 2 * n]}


def one(line):
    d = json.loads(line)
    d = parsed(d) if "x" in d else d
    if not any(m["role"] == "assistant" for m in d["messages"]):
        return d["kind"], None
    m = clean(d)
    if m is None:
        return d["kind"], None
    first = next(x["content"] for x in m if x["role"] == "user")
    o = {"kind": d["kind"], "messages": m}
    if held("chat:" + first.lower().strip(" .!?")):
        o["held"] = True
        n = re.search(r"\b(\d+)\b", first)
        if d["kind"] == "list" and n:
            o["check"] = {"type": "list", "n": int(n.group(1)), "format": "list"}
    return d["kind"], json.dumps(o, ensure_ascii=False)


def lines(paths):
    for p in paths:
        with lzma.open(p, "rt", encoding="utf-8") if p.endswith(".xz") else open(p, encoding="utf-8") as f:
            yield from f


if __name__ == "__main__":
    from multiprocessing import Pool

    kept, total, seen, chars = collections.Counter(), collections.Counter(), set(), 0
    with Pool() as pool, open(sys.argv[1], "w", encoding="utf-8") as f:
        for kind, s in pool.imap(one, lines(sys.argv[2:]), chunksize=256):
            total[kind] += 1
            if s is None or (h := hashlib.md5(s.encode()).digest()[:8]) in seen:
                continue
            seen.add(h)
            kept[kind] += 1
            chars += len(s)
            f.write(s + "\n")
    print(
        "kept",
        sum(kept.values()),
        "of",
        sum(total.values()),
        "MB",
        round(chars / 1e6, 1),
        {k: f"{kept[k]}/{total[k]}" for k in total},
    )
