"""Template dialogues, part 2: sums and comparisons, counting, ordering, lists of an asked length and what refers back to
them, exact JSON, small corrections. Conventions as in talk.py; every answer is computed, so it is right by construction.
"""

import json
from pools import *
from talk import close, fact_turns, made_up, name

THINGS = split(
    "apples, oranges, coins, books, pencils, marbles, eggs, cookies, cards, flowers, stones, balloons, tickets, stamps, shells, candies, toys, cups, nuts, stickers, buttons, bottles, plums, letters"
)
BOXES = split(
    "box/pencils, bag/marbles, basket/eggs, row/seats, team/players, packet/cookies, shelf/books, car/wheels, table/chairs, bunch/flowers, tray/cups, carton/bottles"
)


def one_sum(r):
    """One arithmetic question: (question, answer text, number, key)."""
    k = r.random()
    n = name(r)
    t = r.choice(THINGS)
    if k < 0.48:
        a, b = r.randint(0, 99), r.randint(0, 99)
        if r.random() < 0.25:
            a, b = r.randint(0, 20), r.randint(0, 20)
        if r.random() < 0.08:
            a, b = r.randint(100, 900), r.randint(1, 99)
        c = a + b
        key = f"{a}+{b}"
        x = r.random()
        if x < 0.8 or a == 0 or b == 0:
            q = r.choice(
                [
                    f"What is {a} + {b}?",
                    f"What is {a} plus {b}?",
                    f"{a} + {b} = ?",
                    f"{a} + {b}",
                    f"{a}+{b}",
                    f"Calculate {a} + {b}.",
                    f"How much is {a} + {b}?",
                    f"How much is {a} plus {b}?",
                    f"Add {a} and {b}.",
                    f"What is the sum of {a} and {b}?",
                    f"What do you get if you add {b} to {a}?",
                    f"{a} plus {b}?",
                    f"Can you add {a} and {b}?",
                    f"Compute {a} + {b}.",
                    f"What's {a} + {b}?",
                    f"Sum of {a} and {b}?",
                    f"What is {a}+{b}?",
                ]
            )
            ans = r.choice(
                [
                    f"{a} + {b} = {c}.",
                    f"{a} + {b} = {c}",
                    f"{a} + {b} = {c}.",
                    f"The sum of {a} and {b} is {c}.",
                    f"{a} plus {b} is {c}.",
                    f"{c}",
                    f"The answer is {c}.",
                ]
            )
        else:
            q, ans = r.choice(
                [
                    (
                        f"{n} has {a} {t} and buys {b} more. How many {t} does {n} have now?",
                        f"{n} has {a} + {b} = {c} {t}.",
                    ),
                    (
                        f"{n} had {a} {t} and got {b} more. How many {t} are there now?",
                        f"There are {a} + {b} = {c} {t}.",
                    ),
                    (
                        f"There are {a} red {t} and {b} blue {t}. How many {t} are there in all?",
                        f"There are {a} + {b} = {c} {t} in all.",
                    ),
                    (
                        f"{n} found {a} {t} in the morning and {b} in the evening. How many in total?",
                        f"In total {n} found {a} + {b} = {c} {t}.",
                    ),
                    (
                        f"One bag holds {a} {t}, another holds {b}. How many {t} are there together?",
                        f"Together there are {a} + {b} = {c} {t}.",
                    ),
                ]
            )
    elif k < 0.76:
        c, b = r.randint(0, 99), r.randint(0, 99)
        if r.random() < 0.25:
            c, b = r.randint(0, 12), r.randint(0, 12)
        a = c + b
        if a > 120:
            a, b, c = max(c, b), min(c, b), max(c, b) - min(c, b)
        key = f"{a}-{b}"
        x = r.random()
        if x < 0.78 or b == 0:
            q = r.choice(
                [
                    f"What is {a} - {b}?",
                    f"What is {a} minus {b}?",
                    f"{a} - {b} = ?",
                    f"{a} - {b}",
                    f"{a}-{b}",
                    f"Calculate {a} - {b}.",
                    f"How much is {a} - {b}?",
                    f"How much is {a} minus {b}?",
                    f"Subtract {b} from {a}.",
                    f"What is the difference between {a} and {b}?",
                    f"Take {b} away from {a}.",
                    f"{a} minus {b}?",
                    f"What's {a} - {b}?",
                    f"Compute {a} - {b}.",
                ]
            )
            ans = r.choice(
                [
                    f"{a} - {b} = {c}.",
                    f"{a} - {b} = {c}",
                    f"{a} - {b} = {c}.",
                    f"{a} minus {b} is {c}.",
                    f"{c}",
                    f"The answer is {c}.",
                ]
            )
        else:
            q, ans = r.choice(
                [
                    (f"{n} had {a} {t} and gave away {b}. How many {t} are left?", f"{a} - {b} = {c} {t} are left."),
                    (f"{n} had {a} coins and spent {b}. How many coins are left?", f"{a} - {b} = {c} coins are left."),
                    (
                        f"There were {a} {t} on the table. {n} took {b}. How many are left?",
                        f"{a} - {b} = {c} {t} are left.",
                    ),
                    (
                        f"A book has {a} pages. {n} has read {b}. How many pages are left?",
                        f"{a} - {b} = {c} pages are left.",
                    ),
                    (
                        f"{n} has {a} {t} and loses {b}. How many {t} does {n} have now?",
                        f"{n} has {a} - {b} = {c} {t} now.",
                    ),
                ]
            )
    elif k < 0.93:
        a, b = r.randint(1, 12), r.randint(1, 12)
        if r.random() < 0.1:
            a, b = r.randint(2, 9), r.choice([10, 20, 30, 50, 100, 15, 25])
        c = a * b
        key = f"{a}*{b}"
        bx, th = r.choice(BOXES).split("/")
        if r.random() < 0.75 or a < 2 or b < 2:
            q = r.choice(
                [
                    f"What is {a} times {b}?",
                    f"What is {a} * {b}?",
                    f"What is {a} x {b}?",
                    f"{a} * {b}",
                    f"{a} x {b} = ?",
                    f"{a} times {b}?",
                    f"Multiply {a} by {b}.",
                    f"How much is {a} times {b}?",
                    f"What is the product of {a} and {b}?",
                    f"Calculate {a} * {b}.",
                    f"What's {a} times {b}?",
                ]
            )
            ans = r.choice(
                [
                    f"{a} times {b} is {c}.",
                    f"{a} * {b} = {c}.",
                    f"{a} x {b} = {c}.",
                    f"{a} times {b} is {c}.",
                    f"{c}",
                    f"The answer is {c}.",
                ]
            )
        else:
            q, ans = r.choice(
                [
                    (
                        f"A {bx} holds {a} {th}. How many {th} are in {b} {bx}{'es' if bx == 'box' else 's' if bx != 'shelf' else ''}?".replace(
                            "in %d shelf" % b, "on %d shelves" % b
                        ),
                        f"{a} * {b} = {c} {th}.",
                    ),
                    (
                        f"If a ticket costs {a} dollars, how much do {b} tickets cost?",
                        f"{b} tickets cost {b} * {a} = {c} dollars.",
                    ),
                    (f"{n} reads {a} pages a day. How many pages in {b} days?", f"{a} * {b} = {c} pages."),
                    (f"One apple costs {a} cents. What do {b} apples cost?", f"{b} apples cost {b} * {a} = {c} cents."),
                ]
            )
    else:
        x = r.random()
        if x < 0.4:
            c = r.randint(1, 50)
            q = r.choice([f"What is half of {2 * c}?", f"Half of {2 * c}?", f"How much is half of {2 * c}?"])
            ans = r.choice([f"Half of {2 * c} is {c}.", f"{c}"])
            key = f"{2 * c}/2"
        elif x < 0.7:
            h = r.randint(1, 60)
            c = 2 * h
            q = r.choice([f"What is double {h}?", f"What is twice {h}?", f"Double {h}."])
            ans = r.choice([f"Twice {h} is {c}.", f"{c}"])
            key = f"2*{h}"
        else:
            c, b = r.randint(1, 12), r.randint(2, 12)
            a = c * b
            q = r.choice([f"What is {a} divided by {b}?", f"What is {a} / {b}?", f"Divide {a} by {b}.", f"{a} / {b}"])
            ans = r.choice([f"{a} divided by {b} is {c}.", f"{a} / {b} = {c}.", f"{c}"])
            key = f"{a}/{b}"
    if r.random() < 0.08:
        q = r.choice(["Please tell me: ", "Quick question: ", "Can you tell me: ", "Math: ", "Hi! "]) + q
    if r.random() < 0.05:
        q = q + r.choice([" Just the number.", " Only the number, please."])
        ans = f"{c}"
    return q, ans, c, key


def sums(r):
    turns, first = [], None
    keys = []
    for _ in range(r.choice([1, 1, 2, 3, 4, 5])):
        q, a, c, key = one_sum(r)
        keys.append(key)
        if turns and r.random() < 0.15 and len(key) < 8 and "+" in key:
            x, y = key.split("+")
            q = r.choice([f"And {x} + {y}?", f"And {x} plus {y}?", f"What about {x} + {y}?"])
            a = f"{x} + {y} = {c}."
        first = first or {"type": "sum", "answer": c}
        turns.append((q, a))
    if len(turns) == 1 and r.random() < 0.15:
        turns.append(
            (
                r.choice(["Are you sure?", "Is that right?", "Really?"]),
                r.choice([f"Yes, the answer is {first['answer']}.", f"Yes. The result is {first['answer']}."]),
            )
        )
    return turns, ["sum:" + k for k in keys], first


def compare(r):
    turns = []
    for _ in range(r.choice([1, 1, 2, 3])):
        hi = r.choice([20, 100, 100, 1000])
        a, b = r.randint(0, hi), r.randint(0, hi)
        if a == b:
            b += 1
        x = r.random()
        m, l = max(a, b), min(a, b)
        if x < 0.4:
            q, a_ = r.choice(
                [
                    f"Which is larger, {a} or {b}?",
                    f"Which number is bigger: {a} or {b}?",
                    f"What is more, {a} or {b}?",
                    f"Which is greater, {a} or {b}?",
                    f"Larger number: {a} or {b}?",
                ]
            ), r.choice([f"{m} is larger than {l}.", f"{m} is larger.", f"{m}", f"{m} is greater than {l}."])
        elif x < 0.65:
            q, a_ = r.choice(
                [
                    f"Which is smaller, {a} or {b}?",
                    f"Which number is smaller: {a} or {b}?",
                    f"What is less, {a} or {b}?",
                ]
            ), r.choice([f"{l} is smaller than {m}.", f"{l} is smaller.", f"{l}"])
        elif x < 0.85:
            q, a_ = r.choice([f"Is {a} larger than {b}?", f"Is {a} greater than {b}?", f"Is {a} more than {b}?"]), (
                f"Yes, {a} is larger than {b}." if a > b else f"No, {a} is smaller than {b}."
            )
        elif x < 0.93:
            q, a_ = r.choice([f"Is {a} even or odd?", f"Is {a} an even number?"]), None
            a_ = (
                f"{a} is {'even' if a % 2 == 0 else 'odd'}."
                if "odd?" in q
                else f"{'Yes' if a % 2 == 0 else 'No'}, {a} is {'even' if a % 2 == 0 else 'odd'}."
            )
        else:
            q, a_ = (
                r.choice([f"What number comes after {a}?", f"Which number follows {a}?"]),
                f"{a + 1} comes after {a}.",
            )
        turns.append((q, a_))
    return turns, ["cmp:" + t[0].lower() for t in turns[:1]], None


def counting(r):
    x = r.random()
    sep = ", "
    if x < 0.3:
        a = r.randint(0, 30)
        b = a + r.randint(2, 15)
        q = r.choice(
            [
                f"Count from {a} to {b}.",
                f"Please count from {a} to {b}.",
                f"Count up from {a} to {b}.",
                f"List the numbers from {a} to {b}.",
                f"Write the numbers from {a} to {b}.",
            ]
        )
        ans = sep.join(map(str, range(a, b + 1)))
    elif x < 0.5:
        b = r.randint(0, 10)
        a = b + r.randint(3, 12)
        q = r.choice(
            [f"Count down from {a} to {b}.", f"Count backwards from {a} to {b}.", f"Count back from {a} to {b}."]
        )
        ans = sep.join(map(str, range(a, b - 1, -1)))
    elif x < 0.65:
        s = r.choice([2, 3, 5, 10])
        n = r.randint(4, 10)
        st = s * r.randint(0, 4)
        q = r.choice([f"Count by {s}s from {st} to {st + s * n}.", f"Count in steps of {s} from {st} to {st + s * n}."])
        ans = sep.join(str(st + s * i) for i in range(n + 1))
    elif x < 0.8:
        topic = r.choice(["fruits", "animals", "colors", "vegetables", "birds", "flowers"])
        it = r.sample(LISTS[topic], r.randint(2, 9))
        q = r.choice(
            [
                f"How many words are in this list: {', '.join(it)}?",
                f"How many {topic} are these: {', '.join(it)}?",
                f"Count the {topic}: {', '.join(it)}.",
            ]
        )
        ans = r.choice([f"There are {len(it)}.", f"There are {len(it)} {topic}.", f"{len(it)}"])
    elif x < 0.9:
        n = r.randint(3, 12)
        q = r.choice([f"List the first {n} even numbers.", f"Give me the first {n} even numbers."])
        ans = sep.join(str(2 * i) for i in range(1, n + 1))
    else:
        n = r.randint(3, 12)
        q = r.choice([f"List the first {n} odd numbers.", f"Give me the first {n} odd numbers."])
        ans = sep.join(str(2 * i + 1) for i in range(n))
    if not ans.endswith((".",)) and r.random() < 0.5:
        ans += "."
    return close(r, [(q, ans)], 0.1), ["count:" + q.lower()], None


def ordering(r):
    x = r.random()
    if x < 0.35:
        n = r.sample(range(100), r.randint(3, 6))
        up = r.random() < 0.65
        s = sorted(n, reverse=not up)
        t = ", ".join(map(str, n))
        q = (
            r.choice(
                [
                    f"Sort these numbers: {t}",
                    f"Put these numbers in order: {t}.",
                    f"Sort from smallest to largest: {t}",
                    f"Order these numbers: {t}",
                ]
            )
            if up
            else r.choice([f"Sort from largest to smallest: {t}", f"Put these numbers in descending order: {t}"])
        )
        a = ", ".join(map(str, s))
        turns = [(q, a)]
        if r.random() < 0.3:
            turns.append(
                r.choice(
                    [
                        ("Which one is the largest?", f"The largest is {max(n)}."),
                        ("Which one is the smallest?", f"The smallest is {min(n)}."),
                    ]
                )
            )
    elif x < 0.6:
        w = r.sample(
            [
                i
                for k in ("fruits", "animals", "vegetables", "colors", "birds", "flowers")
                for i in LISTS[k]
                if " " not in i
            ],
            r.randint(3, 6),
        )
        t = ", ".join(w)
        turns = [
            (
                r.choice(
                    [
                        f"Sort these words alphabetically: {t}",
                        f"Put these words in alphabetical order: {t}.",
                        f"Alphabetical order, please: {t}",
                    ]
                ),
                ", ".join(sorted(w)),
            )
        ]
    else:
        pool, kind = r.choice(
            [
                (DAYS, "day"),
                (DAYS, "day"),
                (MONTHS, "month"),
                (MONTHS, "month"),
                (SEASONS, "season"),
                (LISTS["planets"], "planet"),
            ]
        )
        turns = []
        for _ in range(r.choice([1, 1, 2, 3])):
            i = r.randrange(len(pool))
            nx = pool[(i + 1) % len(pool)]
            pv = pool[i - 1]
            if kind == "planet" and i in (0, len(pool) - 1):
                i = 3
                nx, pv = pool[4], pool[2]
            turns.append(
                r.choice(
                    [
                        (f"What comes after {pool[i]}?", f"{nx} comes after {pool[i]}."),
                        (f"Which {kind} comes after {pool[i]}?", f"{nx}."),
                        (f"Which {kind} comes before {pool[i]}?", f"{pv} comes before {pool[i]}."),
                        (f"What {kind} is before {pool[i]}?", f"{pv}."),
                    ]
                )
            )
            if kind == "season":
                turns[-1] = (turns[-1][0], turns[-1][1][0].upper() + turns[-1][1][1:])
    return close(r, turns, 0.08), ["order:" + turns[0][0].lower()], None


def cap(s):
    return s[0].upper() + s[1:]


def listing(r):
    """A list of exactly N items, and questions about it."""
    topic = r.choice(list(LISTS))
    pool = LISTS[topic]
    n = min(r.choice([2, 3, 3, 4, 4, 5, 5, 5, 6, 7, 8, 9, 10, 10]), len(pool))
    it = r.sample(pool, n)
    ordered = topic in ("months", "days of the week", "planets")
    if ordered:
        it = pool[:n] if r.random() < 0.7 else it
    N = NUMBER_WORDS[n] if r.random() < 0.35 else str(n)
    x = r.random()
    if x < 0.7:
        q = r.choice(
            [
                f"List {N} {topic}.",
                f"Give me {N} {topic}.",
                f"Name {N} {topic}.",
                f"Make a list of {N} {topic}.",
                f"Write a list of {N} {topic}.",
                f"Can you list {N} {topic}?",
                f"Please list {N} {topic}.",
                f"I need {N} {topic}.",
                f"Tell me {N} {topic}.",
                f"Could you name {N} {topic}?",
                f"Write down {N} {topic}.",
                f"Show me {N} {topic}.",
                f"A list of {N} {topic}, please.",
                f"Suggest {N} {topic}.",
                f"Think of {N} {topic}.",
                f"What are {N} {topic}?",
                f"Write a numbered list of {N} {topic}.",
                f"List {N} {topic} as a numbered list.",
            ]
        )
        a = "\n".join(f"{i + 1}. {cap(w)}" for i, w in enumerate(it))
        lead = r.random()
        if lead < 0.12:
            a = (
                r.choice(
                    [
                        f"Here are {NUMBER_WORDS[n]} {topic}:\n\n",
                        f"Here is a list of {NUMBER_WORDS[n]} {topic}:\n\n",
                        "Sure! Here is the list:\n\n",
                    ]
                )
                + a
            )
        fmt = "list"
    elif x < 0.82:
        q = r.choice(
            [
                f"List {N} {topic}, one per line.",
                f"Name {N} {topic}, one on each line.",
                f"Give me {N} {topic}, one per line.",
                f"Write {N} {topic}, each on its own line.",
            ]
        )
        a = "\n".join(cap(w) for w in it)
        fmt = "list"
    elif x < 0.92:
        q = r.choice(
            [
                f"List {N} {topic} as bullet points.",
                f"Give me {N} {topic} as a bullet list.",
                f"Make a bulleted list of {N} {topic}.",
                f"List {N} {topic} with bullets.",
            ]
        )
        a = "\n".join(f"- {cap(w)}" for w in it)
        fmt = "list"
    else:
        it = [w for w in it]
        q = r.choice(
            [
                f"List {N} {topic}, separated by commas.",
                f"Give me {N} {topic} in one line, separated by commas.",
                f"Name {N} {topic} as a comma-separated list.",
            ]
        )
        a = ", ".join(it)
        fmt = "commas"
        if any("," in w for w in it):
            fmt = None
    if n == 1:
        fmt = None
    turns = [(q, a)]
    if r.random() < 0.45 and n >= 2:
        last = -1
        for _ in range(r.choice([1, 1, 2, 3])):
            i = r.randrange(n)
            y = r.random()
            if y < 0.45:
                if i == last:
                    i = (i + 1) % n
                o = ORDINALS[i]
                turns.append(
                    (
                        r.choice(
                            [
                                f"What is the {o} one?",
                                f"Which one is the {o}?",
                                f"And the {o} one?",
                                f"Tell me the {o} one again.",
                                f"What was number {i + 1}?",
                                f"What is the {o} item?",
                            ]
                        ),
                        r.choice([f"The {o} one is {it[i]}.", f"Number {i + 1} is {it[i]}.", f"{cap(it[i])}."]),
                    )
                )
                last = i
            elif y < 0.6:
                turns.append(
                    (
                        r.choice(["Which one is the last?", "What is the last one?", "And the last one?"]),
                        r.choice([f"The last one is {it[-1]}.", f"{cap(it[-1])}."]),
                    )
                )
            elif y < 0.75:
                turns.append(
                    (
                        r.choice(["How many are there?", "How many did you list?", "How many items are in the list?"]),
                        r.choice([f"There are {n}.", f"I listed {n} {topic}."]),
                    )
                )
            elif len(it) < len(pool):
                w = r.choice([w for w in pool if w not in it])
                turns.append(
                    (
                        r.choice(["One more, please.", "Add one more.", "Give me another one.", "And one more?"]),
                        r.choice([f"{n + 1}. {cap(w)}", f"{cap(w)}.", f"Another one: {w}."]),
                    )
                )
                break
    else:
        turns = close(r, turns, 0.08)
    return turns, [f"list:{topic}:{n}"], {"type": "list", "n": n, "format": fmt} if fmt else None


KEYSETS = {
    "person": lambda r: {
        "name": name(r),
        "age": r.randint(5, 90),
        "city": r.choice(list(COUNTRIES.values()))[0],
        "job": r.choice(JOBS),
        "married": r.random() < 0.5,
    },
    "book": lambda r: {
        "title": r.choice(LISTS["books"] + [f"The {cap(made_up(r))} of {cap(made_up(r))}"]),
        "author": f"{name(r)} {made_up(r)}",
        "year": r.randint(1800, 2024),
        "pages": r.randint(80, 900),
    },
    "city": lambda r: (
        lambda c: {
            "name": COUNTRIES[c][0],
            "country": c.removeprefix("the ").strip() if not c.startswith("the ") else cap(c),
            "continent": COUNTRIES[c][1],
            "language": COUNTRIES[c][2],
        }
    )(r.choice(list(COUNTRIES))),
    "car": lambda r: {
        "brand": r.choice(["Toyota", "Ford", "Volvo", "Fiat", "Honda", "Audi", "Kia", "Renault"]),
        "color": r.choice(LISTS["colors"]),
        "year": r.randint(1990, 2024),
        "doors": r.choice([3, 5]),
        "electric": r.random() < 0.4,
    },
    "pet": lambda r: {
        "name": r.choice(PET_NAMES),
        "species": r.choice(PETS),
        "age": r.randint(1, 15),
        "color": r.choice(["brown", "black", "white", "gray", "golden"]),
    },
    "product": lambda r: {
        "name": cap(r.choice(LISTS["office supplies"] + LISTS["tools"] + LISTS["kitchen items"])),
        "price": r.choice([r.randint(1, 200), round(r.uniform(1, 99), 2)]),
        "quantity": r.randint(1, 500),
        "in_stock": r.random() < 0.7,
    },
    "movie": lambda r: {
        "title": f"The {r.choice(['Last', 'Silent', 'Golden', 'Hidden', 'Lost', 'Long'])} {r.choice(['River', 'Night', 'Summer', 'Road', 'Garden', 'Letter'])}",
        "director": f"{name(r)} {made_up(r)}",
        "year": r.randint(1950, 2024),
        "rating": r.choice([6.5, 7.2, 8.1, 8.8, 9.0]),
    },
    "song": lambda r: {
        "title": f"{r.choice(['Blue', 'Quiet', 'Bright', 'Winter', 'Summer'])} {r.choice(['Sky', 'Rain', 'Morning', 'Dream', 'Light'])}",
        "artist": f"{name(r)} {made_up(r)}",
        "length": r.randint(120, 360),
    },
    "recipe": lambda r: {
        "name": cap(r.choice(LISTS["soups"] + LISTS["desserts"])),
        "minutes": r.choice([10, 15, 20, 30, 45, 60]),
        "servings": r.randint(1, 8),
        "ingredients": r.sample(LISTS["vegetables"] + LISTS["spices"], r.randint(2, 4)),
    },
    "event": lambda r: {
        "title": r.choice(["Concert", "Birthday party", "Team meeting", "Book club", "Picnic"]),
        "day": r.choice(DAYS),
        "place": r.choice(list(COUNTRIES.values()))[0],
        "guests": r.randint(2, 120),
    },
    "student": lambda r: {
        "name": name(r),
        "age": r.randint(6, 25),
        "subject": r.choice(LISTS["school subjects"]),
        "grade": r.choice(["A", "B", "C"]),
    },
    "restaurant": lambda r: {
        "name": f"{name(r)}'s {r.choice(['Kitchen', 'Table', 'Garden', 'Corner'])}",
        "city": r.choice(list(COUNTRIES.values()))[0],
        "cuisine": r.choice(["Italian", "Indian", "French", "Thai", "Mexican", "Greek"]),
        "stars": r.randint(1, 5),
    },
    "planet": lambda r: (
        lambda i: {
            "name": LISTS["planets"][i],
            "position": i + 1,
            "moons": i > 1,
            "type": "rocky" if i < 4 else "giant",
        }
    )(r.randrange(8)),
    "animal": lambda r: (
        lambda a: {
            "name": a,
            "class": ANIMALS[a][0],
            "legs": NUMBER_WORDS.index(ANIMALS[a][1]) if ANIMALS[a][1] in NUMBER_WORDS else 0,
            "young": ANIMALS[a][4],
        }
    )(r.choice(list(ANIMALS))),
    "job": lambda r: {
        "title": cap(r.choice(JOBS)),
        "city": r.choice(list(COUNTRIES.values()))[0],
        "hours": r.choice([20, 30, 35, 40]),
        "remote": r.random() < 0.5,
    },
    "trip": lambda r: {
        "from": r.choice(list(COUNTRIES.values()))[0],
        "to": r.choice(list(COUNTRIES.values()))[0],
        "days": r.randint(1, 30),
        "transport": r.choice(["train", "car", "plane", "bus", "bicycle", "ship"]),
    },
    "order": lambda r: {
        "id": r.randint(1, 9999),
        "item": r.choice(THINGS),
        "quantity": r.randint(1, 50),
        "paid": r.random() < 0.5,
    },
    "weather report": lambda r: {
        "city": r.choice(list(COUNTRIES.values()))[0],
        "temperature": r.randint(-10, 38),
        "sky": r.choice(["sunny", "cloudy", "rainy", "snowy", "windy"]),
        "humidity": r.randint(20, 100),
    },
    "game": lambda r: {
        "name": cap(r.choice(LISTS["games"])),
        "players": r.randint(2, 8),
        "minutes": r.choice([10, 20, 30, 60]),
    },
    "plant": lambda r: {
        "name": cap(r.choice(LISTS["flowers"])),
        "height_cm": r.randint(10, 200),
        "color": r.choice(LISTS["colors"]),
        "needs_sun": r.random() < 0.6,
    },
}


def spell(v):
    return ("yes" if v else "no") if isinstance(v, bool) else ", ".join(map(str, v)) if isinstance(v, list) else str(v)


def jsons(r):
    """Exact JSON and nothing else: objects with asked keys, extraction, arrays, tables; then a change by a second turn."""

    def dump(o):
        return json.dumps(o, ensure_ascii=False, indent=2 if style < 0.45 else None)

    style = r.random()
    x = r.random()
    what = r.choice(list(KEYSETS))
    full = KEYSETS[what](r)
    an = "an" if what[0] in "aeiou" else "a"
    ks = r.sample(list(full), r.randint(2, min(4, len(full)))) if r.random() < 0.8 else list(full)
    o = {k: full[k] for k in ks}
    quoted = [f'"{k}"' for k in ks]
    kl = ", ".join(quoted[:-1]) + " and " + quoted[-1]
    tail = r.choice(["", "", "", " Only JSON, please.", " Answer with JSON only.", " No other text."])
    facts = ", ".join(f"{k.replace('_', ' ')} {spell(v)}" for k, v in o.items())
    turns = None
    if x < 0.16:
        q = r.choice(
            [
                f"Return a JSON object with the keys {kl} for {an} {what}.",
                f"Write JSON with the keys {kl} for {an} {what}.",
                f"Give me a JSON object with {kl} for {an} {what}.",
                f"Make a JSON object for {an} {what} with the keys {kl}.",
                f"Write a JSON object for {an} {what}. Use the keys {kl}.",
            ]
        )
        a = dump(o)
    elif x < 0.30:
        q = r.choice(
            [
                f"Describe {an} {what} as JSON.",
                f"Give me an example of {an} {what} in JSON.",
                f"Write a JSON object that describes {an} {what}.",
                f"Write a JSON object that describes {an} {what} with {NUMBER_WORDS[len(ks)]} fields.",
                f"Show me {an} {what} as JSON with {NUMBER_WORDS[len(ks)]} fields.",
                f"Write {an} {what} as a JSON object.",
            ]
        )
        o = {k: full[k] for k in ks}
        a = dump(o)
    elif x < 0.46:
        q = r.choice(
            [
                f"Write this as JSON: {facts}",
                f"Turn this into a JSON object: {facts}.",
                f"Convert to JSON: {facts}",
                f"Make a JSON object from this: {facts}.",
            ]
        )
        a = dump(o)
    elif x < 0.66:
        n = name(r)
        ag = r.randint(5, 95)
        ci = r.choice(list(COUNTRIES.values()))[0]
        jb = r.choice(JOBS)
        anj = "an" if jb[0] in "aeiou" else "a"
        q, o = r.choice(
            [
                (
                    f'Return a JSON object with the keys "name" and "age" for {n}, who is {ag} years old.',
                    {"name": n, "age": ag},
                ),
                (
                    f'Extract the name and the city as JSON: "{n} lives in {ci} and works as {anj} {jb}."',
                    {"name": n, "city": ci},
                ),
                (
                    f'Extract the name and the job as JSON: "{n} lives in {ci} and works as {anj} {jb}."',
                    {"name": n, "job": jb},
                ),
                (
                    f'Extract the name, the city and the job as JSON: "{n} lives in {ci} and works as {anj} {jb}."',
                    {"name": n, "city": ci, "job": jb},
                ),
                (f'Extract name and age as JSON: "{n} is {ag} years old and lives in {ci}."', {"name": n, "age": ag}),
                (f'Extract name, age and city as JSON: "{n}, {ag}, from {ci}"', {"name": n, "age": ag, "city": ci}),
                (
                    f'Return JSON with "name", "age" and "city" for {n}, {ag}, from {ci}.',
                    {"name": n, "age": ag, "city": ci},
                ),
                (
                    f'Make a JSON object for {n}, {anj} {jb} from {ci}. Use the keys "name", "job" and "city".',
                    {"name": n, "job": jb, "city": ci},
                ),
            ]
        )
        a = dump(o)
    elif x < 0.88:
        topic = r.choice(list(LISTS))
        pool = LISTS[topic]
        k = min(r.randint(2, 8), len(pool))
        o = r.sample(pool, k)
        N = NUMBER_WORDS[k] if r.random() < 0.3 else str(k)
        q = r.choice(
            [
                f"Give me a JSON array of {N} {topic}.",
                f"Write a JSON array with {N} {topic}.",
                f"List {N} {topic} as a JSON array.",
                f"Return {N} {topic} as JSON.",
                f"{N.capitalize()} {topic} as a JSON list.",
                f"Make a JSON array of {N} {topic}.",
            ]
        )
        a = dump(o)
    elif x < 0.94:
        k = r.randint(2, 8)
        s = r.randint(0, 50)
        o = list(range(s, s + k))
        q = r.choice(
            [
                f"Write the numbers from {s} to {s + k - 1} as a JSON array.",
                f"Give me a JSON array of the numbers {s} to {s + k - 1}.",
            ]
        )
        a = dump(o)
    else:
        rows = [{"name": name(r), "age": r.randint(5, 90)} for _ in range(r.randint(2, 3))]
        o = rows
        q = "Write a JSON array of people: " + "; ".join(f"{w['name']}, {w['age']}" for w in rows) + "."
        a = dump(o)
    turns = [(q + tail, a)]
    if isinstance(o, dict) and r.random() < 0.35:
        k, v = r.choice(list(o.items()))
        y = r.random()
        if y < 0.4:
            turns.append(
                (
                    r.choice([f'What is the value of "{k}"?', f"What is the {k.replace('_', ' ')}?"]),
                    r.choice(
                        [
                            f"{json.dumps(v, ensure_ascii=False)}",
                            f'The value of "{k}" is {json.dumps(v, ensure_ascii=False)}.',
                        ]
                    ),
                )
            )
        elif y < 0.7:
            nk, nv = r.choice(
                [
                    ("id", r.randint(1, 999)),
                    ("active", True),
                    ("country", r.choice(["France", "Japan", "Peru", "Kenya"])),
                    ("email", f"{name(r).lower()}@example.com"),
                    ("score", r.randint(0, 100)),
                ]
            )
            if nk not in o:
                turns.append(
                    (
                        r.choice(
                            [
                                f'Add the key "{nk}" with the value {json.dumps(nv)}.',
                                f'Now add "{nk}": {json.dumps(nv)}.',
                            ]
                        ),
                        dump({**o, nk: nv}),
                    )
                )
        elif len(o) > 2:
            turns.append(
                (
                    r.choice([f'Remove the key "{k}".', f'Now without "{k}", please.']),
                    dump({a: b for a, b in o.items() if a != k}),
                )
            )
    return turns, ["json:" + q.lower()], {"type": "json"}


SUBJ = [
    ("He", "s"),
    ("She", "s"),
    ("It", "s"),
    ("My brother", "s"),
    ("My sister", "s"),
    ("The teacher", "s"),
    ("The dog", "s"),
    ("They", ""),
    ("We", ""),
    ("My parents", ""),
    ("The children", ""),
    ("The birds", ""),
]
VERBS = [
    ("go", "goes"),
    ("like", "likes"),
    ("want", "wants"),
    ("play", "plays"),
    ("eat", "eats"),
    ("work", "works"),
    ("need", "needs"),
    ("watch", "watches"),
    ("sing", "sings"),
    ("sleep", "sleeps"),
    ("run", "runs"),
    ("come", "comes"),
    ("live", "lives"),
    ("see", "sees"),
]
TAILS = {
    "go": ["to school every day", "home by bus", "to the market"],
    "like": ["apples", "the new song", "warm days"],
    "want": ["a new book", "some tea", "to rest"],
    "play": ["in the garden", "football", "the piano"],
    "eat": ["bread in the morning", "lunch at noon"],
    "work": ["in a bakery", "very hard"],
    "need": ["more time", "help"],
    "watch": ["the birds", "a film"],
    "sing": ["a song", "every morning"],
    "sleep": ["on the sofa", "until nine"],
    "run": ["in the park", "very fast"],
    "come": ["from Spain", "home late"],
    "live": ["near the river", "in a small house"],
    "see": ["the moon", "a ship"],
}


def correct(r):
    turns = []
    for _ in range(r.choice([1, 1, 2])):
        s, e = r.choice(SUBJ)
        v, vs = r.choice(VERBS)
        t = r.choice(TAILS[v])
        right = f"{s} {vs if e else v} {t}."
        wrong = f"{s} {v if e else vs} {t}."
        x = r.random()
        if x < 0.45:
            bad = wrong
        elif x < 0.6:
            bad = right.lower().rstrip(".")
        elif x < 0.75:
            bad = (
                right[:-1].replace(" the ", " teh ").replace(" a ", " an ")
                if (" the " in right or " a " in right)
                else wrong
            )
        else:
            right = f"{s} {'does not' if e else 'do not'} {v} {t}."
            bad = f"{s} {'do not' if e else 'does not'} {v} {t}."
        if "spain" in bad:
            bad = bad.replace("spain", "Spain")
        q = (
            r.choice(
                [
                    "Correct the grammar: ",
                    "Correct this sentence: ",
                    "Fix the mistakes: ",
                    "Correct: ",
                    "Please correct: ",
                    "What is wrong here? ",
                    "Fix this sentence: ",
                ]
            )
            + bad
        )
        turns.append((q, right))
    return turns, ["fix:" + turns[0][0].lower()], None


def echo(r):
    """Plain obedience: say X, repeat it n times, upper case, first word, yes/no membership, odd one out."""
    x = r.random()
    w = r.choice(THINGS + LISTS["animals"] + LISTS["colors"] + [made_up(r).lower(), name(r)])
    if x < 0.2:
        q, a = r.choice([f'Say "{w}".', f"Repeat after me: {w}", f"Repeat: {w}", f"Write the word {w}."]), w
    elif x < 0.38:
        k = r.randint(2, 6)
        q, a = r.choice(
            [
                f'Say "{w}" {NUMBER_WORDS[k]} times.',
                f"Write {w} {k} times.",
                f"Repeat the word {w} {NUMBER_WORDS[k]} times.",
            ]
        ), ", ".join([w] * k)
    elif x < 0.5:
        it = r.sample(LISTS["fruits"], r.randint(2, 5))
        q, a = (
            r.choice([f"What is the first word: {' '.join(it)}?", f"Which word comes first: {', '.join(it)}?"]),
            it[0],
        )
    elif x < 0.62:
        it = r.sample(LISTS["animals"], r.randint(2, 5))
        q, a = (
            r.choice([f"What is the last word: {', '.join(it)}?", f"Which word comes last: {', '.join(it)}?"]),
            it[-1],
        )
    elif x < 0.8:
        ka, kb = r.sample(
            [
                "animals",
                "fruits",
                "colors",
                "countries",
                "musical instruments",
                "clothes",
                "vehicles",
                "tools",
                "flowers",
                "sports",
            ],
            2,
        )
        it = r.sample([i for i in LISTS[ka] if i != "orange"], 3)
        odd = r.choice([i for i in LISTS[kb] if i not in LISTS[ka]])
        mix = it + [odd]
        r.shuffle(mix)
        q, a = r.choice(
            [
                f"Which does not belong: {', '.join(mix)}?",
                f"Which word does not fit: {', '.join(mix)}?",
                f"Find the odd one out: {', '.join(mix)}.",
            ]
        ), r.choice([f"{cap(odd)} does not belong: the others are {ka}.", f"{cap(odd)}. The others are {ka}."])
    else:
        pos = r.random() < 0.5
        s = (
            r.choice(
                [
                    "The food was wonderful.",
                    "I love this phone.",
                    "The room was clean and quiet.",
                    "The music was beautiful.",
                    "Great service, I'll come back!",
                    "A very funny film.",
                    "The staff was friendly.",
                    "My new shoes are comfortable.",
                ]
            )
            if pos
            else r.choice(
                [
                    "The food was cold.",
                    "The waiter was rude.",
                    "I want my money back.",
                    "The film was far too long.",
                    "The room was dirty.",
                    "It broke after one day.",
                    "Terrible service.",
                    "The train was late again.",
                ]
            )
        )
        q, a = r.choice(
            [
                f'Is this review positive or negative? "{s}"',
                f"Positive or negative: {s}",
                f'Classify as positive or negative: "{s}"',
            ]
        ), (r.choice(["Positive", "Positive."]) if pos else r.choice(["Negative", "Negative."]))
    return [(q, a)], ["echo:" + q.lower()], None
