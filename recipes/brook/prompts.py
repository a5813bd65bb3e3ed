"""Draws the start of a dialogue for sample.py: a system line (or none) and a first question, or only the header of the
user's turn (kind `self`: the model writes it). The kinds that templates do better (sums, JSON, greetings, identity) are left out.
"""

from pools import ANIMALS, COUNTRIES, LISTS, NAMES, split

PEOPLE = split(
    "a girl, a boy, an old man, a young scientist, a baker, a sailor, a teacher, a painter, a farmer, a king, a knight, a wizard, a robot, a pilot, a gardener, a musician, a detective, a librarian, an astronaut, a fisherman, a clockmaker, a shepherd, a grandmother, a pirate, a poet, an inventor, two best friends, twin sisters"
)
THINGS = split(
    "a lost key, a magic stone, a red balloon, a broken clock, a letter, a map, an old book, a secret door, a lantern, a mirror, a kite, a music box, a storm, a promise, a dream, a song, a new friend, the first snow, a missing cat, a strange noise, a long journey"
)
PLACES = split(
    "a village by the sea, a dark forest, the moon, a busy city, an old castle, a small island, the mountains, a school, a library, a farm, a train, a ship, a museum, a garden, a cave, a market, a snowy town, a space station, a lighthouse, a bakery, a theatre, the North Pole"
)
TOPICS = split(
    "gravity, photosynthesis, electricity, magnetism, evolution, DNA, the water cycle, volcanoes, earthquakes, black holes, the solar system, atoms, cells, vaccines, bacteria, the immune system, the heart, the brain, climate change, renewable energy, batteries, lightning, rainbows, tides, the seasons, light, sound, heat, energy, fossils, plate tectonics, clouds, ecosystems, sleep, memory, relativity, telescopes, rockets, computers, the internet, a database, an algorithm, machine learning, a compiler, encryption, a search engine, recursion, open source software, debugging, artificial intelligence, data compression, democracy, inflation, supply and demand, taxes, interest rates, insurance, human rights, the Renaissance, the Roman Empire, ancient Egypt, the Industrial Revolution, the printing press, philosophy, ethics, psychology, economics, geography, poetry, theatre, sculpture, classical music, jazz, architecture, cooking, nutrition, meditation, habits, teamwork, leadership, journalism, recycling, agriculture"
)
HOWTO = split(
    "boil an egg, bake bread, make tea, cook rice, plant a tree, grow tomatoes, learn a language, save money, study for an exam, write a letter, prepare for an interview, tie a tie, change a light bulb, fix a flat tire, paint a wall, sleep better, wake up early, stay focused, remember names, give a speech, make friends, pack a suitcase, plan a trip, take a good photo, play chess, learn the guitar, start running, reduce stress, keep a diary, organize a desk, do laundry, sew a button, write a story, start a garden, save energy, train a dog, learn to code, back up files, stay safe online, write an email, run a meeting, ask for help, set goals, make a sandwich, make soup"
)
WORDS = split(
    "the ocean, winter, spring, autumn, the night, rain, love, time, home, the moon, music, a tree, a river, silence, snow, a train, the city, the wind, stars, a window, coffee, the desert, a bridge, morning, bread, a road"
)
SYSTEM = [
    "You are a helpful assistant.",
    "You are a friendly assistant who answers briefly.",
    "You are a patient teacher.",
    "You answer in simple words.",
    "You are a helpful assistant. Keep answers short.",
    "You are a careful assistant. Answer step by step.",
    "You are a storyteller.",
    "Answer in at most three sentences.",
]
TEACHER = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"  # what the teacher's template puts where no system line is given; clean_raw drops it
KINDS = {
    "story": 24,
    "explain": 16,
    "howto": 10,
    "fact": 8,
    "poem": 6,
    "compare": 6,
    "advice": 6,
    "list": 6,
    "dialogue": 4,
}
WARM = dict(story=0.8, poem=0.8, dialogue=0.7, fact=0.3, list=0.4)


def user(r):
    c = r.choice
    kind = r.choices(list(KINDS), list(KINDS.values()))[0]
    who = c(PEOPLE + ["a " + a if a[0] not in "aeiou" else "an " + a for a in ANIMALS])
    x = c(TOPICS)
    return kind, c(
        {
            "story": [
                f"Tell me a short story about {who}.",
                f"Write a short story about {who} and {c(THINGS)}.",
                f"Write a story set in {c(PLACES)} about {who}.",
                f"Tell me a bedtime story about {who}.",
                f"Write a funny story about {who}.",
                f"Continue this story: One day, {c(NAMES)} went to {c(PLACES)} and found {c(THINGS)}.",
            ],
            "explain": [
                f"Explain {x} in simple words.",
                f"What is {x}?",
                f"How does {x} work?",
                f"Why is {x} important?",
                f"Tell me about {x}.",
                f"Explain {x} in two sentences.",
                f"Give a short summary of {x}.",
            ],
            "howto": [
                f"How do I {c(HOWTO)}?",
                f"How can I {c(HOWTO)}?",
                f"Give me tips to {c(HOWTO)}.",
                f"What is the best way to {c(HOWTO)}?",
            ],
            "fact": [
                f"Tell me an interesting fact about {c(list(COUNTRIES))}.",
                f"What is {c(list(COUNTRIES))} famous for?",
                f"What food is typical of {c(list(COUNTRIES))}?",
                f"Tell me a fact about the {c(list(ANIMALS))}.",
            ],
            "poem": [
                f"Write a poem about {c(WORDS)}.",
                f"Write a haiku about {c(WORDS)}.",
                f"Write four lines about {c(WORDS)}.",
            ],
            "compare": [f"What is the difference between {x} and {c(TOPICS)}?", f"Compare {x} and {c(TOPICS)}."],
            "advice": [
                f"Give me advice: I want to {c(HOWTO)} but I have no time.",
                f"My goal is to {c(HOWTO)}. Make a plan for a week.",
            ],
            "list": [f"List {r.randint(3, 10)} {c(list(LISTS))}.", f"Give me {r.randint(3, 10)} {c(list(LISTS))}."],
            "dialogue": [f"Write a dialogue between {c(NAMES)} and {c(NAMES)} about {c(WORDS)}."],
        }[kind]
    )


def draw(r):
    line = r.choice(SYSTEM) if r.random() < 0.45 else TEACHER
    head = f"<|im_start|>system\n{line}<|im_end|>\n"
    if r.random() < 0.36:
        return dict(
            kind="self",
            text=head + "<|im_start|>user\n",
            role=0,
            turns=r.choice([1, 1, 2, 2, 3]),
            tu=r.choice([0.8, 0.9, 1.0]),
            ta=0.5,
        )
    kind, q = user(r)
    return dict(
        kind=kind,
        text=head + f"<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n",
        role=1,
        turns=r.choice([1, 1, 1, 2, 2, 3]),
        tu=0.9,
        ta=WARM.get(kind, 0.5),
    )
