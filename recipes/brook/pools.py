"""Word and fact pools of the template dialogues: what brook is meant to get right is written out here.

Everything is plain data, by hand. `split` turns a comma list into items; FACTS are short and true.
"""


def split(text):
    return [x.strip() for x in text.replace("\n", " ").split(",") if x.strip()]


NAMES = split(
    """Anna, Ben, Clara, David, Emma, Felix, Grace, Hugo, Iris, Jack, Kate, Leo, Mia, Noah, Olga, Paul, Ruth, Sam, Tina,
Victor, Wendy, Yusuf, Zoe, Amir, Bella, Chen, Dana, Eli, Fatima, George, Hana, Ivan, Julia, Karim, Lucy, Maria, Nina, Omar,
Peter, Rosa, Sara, Tom, Uma, Lin, Ravi, Kofi, Aiko, Mei, Diego, Elena, Alex, Robin, Jonas, Priya, Marta, Luca, Nora, Otto,
Petra, Samir, Vera, Walter, Yara, Simon, Laura, Martin, Alice, Bob, Charlie, Daniel, Eva, Frank, Helen, Isabel, James, Karen,
Liam, Monica, Nick, Oscar, Pablo, Rachel, Steve, Teresa, Ursula, Vincent, Will, Xavier, Yvonne, Zach"""
)
JOBS = split(
    """teacher, nurse, baker, pilot, farmer, painter, engineer, doctor, cook, driver, writer, musician, gardener, lawyer,
carpenter, dentist, librarian, photographer, scientist, tailor, waiter, plumber, actor, singer, student, programmer, designer"""
)
PETS = split("dog, cat, rabbit, parrot, hamster, horse, turtle, goldfish, pony, canary, guinea pig, kitten, puppy")
PET_NAMES = split(
    """Rex, Bella, Max, Luna, Coco, Daisy, Milo, Rocky, Ginger, Pepper, Simba, Lola, Oreo, Toby, Nala, Bruno, Mango,
Biscuit, Shadow, Ziggy, Peanut, Fluffy, Spot, Whiskers, Hazel, Pip, Olive, Waffles, Socks, Cleo"""
)
FEELINGS = split(
    "happy, sad, tired, bored, nervous, lonely, excited, angry, confused, proud, worried, curious, stressed, grateful"
)

# name: (capital, continent, language)
COUNTRIES = {}
for _row in """France|Paris|Europe|French;Germany|Berlin|Europe|German;Italy|Rome|Europe|Italian;Spain|Madrid|Europe|Spanish;
Portugal|Lisbon|Europe|Portuguese;Poland|Warsaw|Europe|Polish;Sweden|Stockholm|Europe|Swedish;Norway|Oslo|Europe|Norwegian;
Finland|Helsinki|Europe|Finnish;Denmark|Copenhagen|Europe|Danish;Ireland|Dublin|Europe|English and Irish;Greece|Athens|Europe|Greek;
Turkey|Ankara|Asia and Europe|Turkish;Egypt|Cairo|Africa|Arabic;Kenya|Nairobi|Africa|Swahili and English;Nigeria|Abuja|Africa|English;
Morocco|Rabat|Africa|Arabic and Berber;India|New Delhi|Asia|Hindi and English;China|Beijing|Asia|Chinese;Japan|Tokyo|Asia|Japanese;
South Korea|Seoul|Asia|Korean;Thailand|Bangkok|Asia|Thai;Vietnam|Hanoi|Asia|Vietnamese;Indonesia|Jakarta|Asia|Indonesian;
Australia|Canberra|Oceania|English;New Zealand|Wellington|Oceania|English and Maori;Canada|Ottawa|North America|English and French;
Mexico|Mexico City|North America|Spanish;Brazil|Brasilia|South America|Portuguese;Argentina|Buenos Aires|South America|Spanish;
Chile|Santiago|South America|Spanish;Peru|Lima|South America|Spanish;Cuba|Havana|North America|Spanish;Austria|Vienna|Europe|German;
Switzerland|Bern|Europe|German, French and Italian;Belgium|Brussels|Europe|Dutch and French;the Netherlands|Amsterdam|Europe|Dutch;
Hungary|Budapest|Europe|Hungarian;Romania|Bucharest|Europe|Romanian;Ukraine|Kyiv|Europe|Ukrainian;Iran|Tehran|Asia|Persian;
Pakistan|Islamabad|Asia|Urdu and English;Nepal|Kathmandu|Asia|Nepali;the Philippines|Manila|Asia|Filipino and English;
Iceland|Reykjavik|Europe|Icelandic;Ethiopia|Addis Ababa|Africa|Amharic;Ghana|Accra|Africa|English;Colombia|Bogota|South America|Spanish;
the United Kingdom|London|Europe|English;the United States|Washington, D.C.|North America|English;Russia|Moscow|Europe and Asia|Russian;
the Czech Republic|Prague|Europe|Czech;Slovakia|Bratislava|Europe|Slovak;Croatia|Zagreb|Europe|Croatian;Serbia|Belgrade|Europe|Serbian;
Bulgaria|Sofia|Europe|Bulgarian;Estonia|Tallinn|Europe|Estonian;Latvia|Riga|Europe|Latvian;Lithuania|Vilnius|Europe|Lithuanian;
Slovenia|Ljubljana|Europe|Slovene;Israel|Jerusalem|Asia|Hebrew;Saudi Arabia|Riyadh|Asia|Arabic;Tunisia|Tunis|Africa|Arabic;
Algeria|Algiers|Africa|Arabic and Berber;Senegal|Dakar|Africa|French;Tanzania|Dodoma|Africa|Swahili and English;
Uruguay|Montevideo|South America|Spanish;Venezuela|Caracas|South America|Spanish;Ecuador|Quito|South America|Spanish;
Jamaica|Kingston|North America|English;Malaysia|Kuala Lumpur|Asia|Malay;Mongolia|Ulaanbaatar|Asia|Mongolian;Iraq|Baghdad|Asia|Arabic and Kurdish""".replace(
    "\n", ""
).split(
    ";"
):
    _c = _row.split("|")
    COUNTRIES[_c[0]] = tuple(_c[1:])

# animal: (class, legs, eats, lives, young)
ANIMALS = {}
for _row in """cat|mammal|four|meat, such as mice and fish|in homes with people|kitten;dog|mammal|four|meat and some plants|in homes with people|puppy;
fox|mammal|four|mice, birds, insects and fruit|in forests and fields|cub;owl|bird|two|mice and other small animals|in forests and old barns|owlet;
bear|mammal|four|fish, berries, honey and plants|in forests and mountains|cub;rabbit|mammal|four|grass, leaves and vegetables|in burrows under fields|kit;
turtle|reptile|four|plants, insects and small fish|in ponds, rivers and the sea|hatchling;whale|mammal|no|fish, squid and tiny krill|in the ocean|calf;
dolphin|mammal|no|fish and squid|in the ocean|calf;elephant|mammal|four|grass, leaves, fruit and bark|in savannas and forests of Africa and Asia|calf;
lion|mammal|four|meat, such as zebras and antelopes|in the savannas of Africa|cub;mouse|mammal|four|seeds, grain and fruit|in fields and houses|pup;
horse|mammal|four|grass, hay and oats|on farms and grasslands|foal;penguin|bird|two|fish and krill|on the cold coasts of the south|chick;
wolf|mammal|four|deer and other animals|in forests and tundra|pup;frog|amphibian|four|insects and worms|in ponds and wet places|tadpole;
bee|insect|six|nectar and pollen|in hives|larva;spider|arachnid|eight|insects|in webs, gardens and houses|spiderling;
goose|bird|two|grass and grain|near lakes and on farms|gosling;hedgehog|mammal|four|insects, worms and snails|in gardens and hedges|hoglet;
otter|mammal|four|fish and crabs|in rivers and along coasts|pup;parrot|bird|two|seeds, nuts and fruit|in tropical forests|chick;
snail|mollusc|no|leaves and plants|in gardens and damp places|hatchling;tiger|mammal|four|meat, such as deer and wild pigs|in the forests of Asia|cub;
sheep|mammal|four|grass|on farms and hills|lamb;goat|mammal|four|grass, leaves and shrubs|on farms and mountains|kid;duck|bird|two|water plants, seeds and insects|on ponds and lakes|duckling;
swan|bird|two|water plants|on lakes and rivers|cygnet;crow|bird|two|almost anything, from seeds to insects|in towns, fields and forests|chick;
bat|mammal|two|insects or fruit|in caves and trees|pup;squirrel|mammal|four|nuts, seeds and berries|in trees|kit;deer|mammal|four|grass, leaves and twigs|in forests|fawn;
monkey|mammal|four|fruit, leaves and insects|in tropical forests|infant;octopus|mollusc|eight|crabs, clams and fish|in the ocean|larva;shark|fish|no|fish and other sea animals|in the ocean|pup;
butterfly|insect|six|nectar from flowers|in gardens and meadows|caterpillar;ant|insect|six|seeds, sweet juice and other insects|in nests under the ground|larva;
beaver|mammal|four|bark, twigs and leaves|in lodges on rivers|kit;camel|mammal|four|dry grass and desert plants|in deserts|calf;
giraffe|mammal|four|leaves from tall trees|in the savannas of Africa|calf;kangaroo|mammal|four|grass and leaves|in Australia|joey;koala|mammal|four|eucalyptus leaves|in the forests of Australia|joey;
panda|mammal|four|bamboo|in the mountain forests of China|cub;seal|mammal|four|fish and squid|along cold coasts|pup;zebra|mammal|four|grass|in the savannas of Africa|foal;
cow|mammal|four|grass and hay|on farms|calf;pig|mammal|four|roots, grain and vegetables|on farms|piglet;hen|bird|two|grain, seeds and insects|on farms|chick;
eagle|bird|two|fish, rabbits and other small animals|in mountains and near lakes|eaglet;snake|reptile|no|mice, frogs and eggs|in forests, deserts and grasslands|hatchling;
crocodile|reptile|four|fish, birds and mammals|in warm rivers|hatchling;salmon|fish|no|insects and small fish|in rivers and the sea|fry;lizard|reptile|four|insects|in warm, dry places|hatchling""".replace(
    "\n", ""
).split(
    ";"
):
    _c = _row.split("|")
    ANIMALS[_c[0]] = tuple(_c[1:])

OPPOSITES = [
    tuple(x.split("/"))
    for x in split(
        """hot/cold, big/small, fast/slow, early/late, happy/sad, strong/weak, light/dark,
open/closed, full/empty, clean/dirty, young/old, rich/poor, brave/afraid, loud/quiet, soft/hard, dry/wet, near/far, high/low, thick/thin,
sweet/sour, safe/dangerous, simple/complicated, sharp/blunt, warm/cool, bright/dim, deep/shallow, wide/narrow, heavy/light, easy/difficult,
up/down, left/right, day/night, yes/no, in/out, front/back, first/last, always/never, before/after, above/below, inside/outside,
push/pull, buy/sell, win/lose, begin/end, laugh/cry, love/hate, give/take, remember/forget, arrive/leave, summer/winter, north/south,
east/west, true/false, good/bad, long/short, tall/short, new/old, right/wrong, polite/rude, awake/asleep, alive/dead, rough/smooth,
tight/loose, generous/selfish, cheap/expensive, modern/ancient, noisy/silent, beautiful/ugly, ask/answer, build/destroy, increase/decrease,
morning/evening, friend/enemy, more/less, many/few, same/different, success/failure, question/answer, accept/refuse, enter/exit"""
    )
]
SYNONYMS = [
    tuple(x.split("/"))
    for x in split(
        """big/large, small/tiny, fast/quick, happy/glad, sad/unhappy, angry/furious, tired/weary,
smart/clever, brave/courageous, quiet/silent, rich/wealthy, begin/start, end/finish, easy/simple, hard/difficult, pretty/beautiful,
funny/amusing, strange/odd, scared/afraid, help/assist, buy/purchase, fix/repair, answer/reply, choose/select, speak/talk, jump/leap,
shout/yell, look/watch, think/believe, gift/present, trip/journey, house/home, kind/gentle, rude/impolite, calm/peaceful, sure/certain,
wrong/incorrect, right/correct, whole/entire, strong/powerful, weak/feeble, cold/chilly, hot/boiling, wet/damp, dirty/filthy, clean/spotless,
bright/shiny, sick/ill, old/ancient, new/modern, famous/well-known, polite/courteous, lucky/fortunate, thin/slim, empty/vacant, safe/secure"""
    )
]
COLORS_OF = [
    tuple(x.split("/"))
    for x in split(
        """the sky on a clear day/blue, grass/green, snow/white, a banana/yellow, a tomato/red, the sea/blue,
coal/black, a lemon/yellow, blood/red, chocolate/brown, an orange/orange, a cucumber/green, milk/white, a raven/black, a carrot/orange,
a sunflower/yellow, a strawberry/red, an emerald/green, a ruby/red, salt/white, a flamingo/pink, an eggplant/purple, a polar bear/white,
the night sky/black, a pumpkin/orange, spinach/green, a cherry/red, cotton/white, gold/yellow, the sun in a child's drawing/yellow"""
    )
]
DAYS = split("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
MONTHS = split("January, February, March, April, May, June, July, August, September, October, November, December")
SEASONS = split("spring, summer, autumn, winter")
NUMBER_WORDS = split(
    "zero, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty"
)
ORDINALS = split("first, second, third, fourth, fifth, sixth, seventh, eighth, ninth, tenth")

# (question, short answer, sentence)
FACTS = [
    tuple(p.strip() for p in x.split("|"))
    for x in """How many days are in a week?|Seven|There are seven days in a week.
How many months are in a year?|Twelve|There are twelve months in a year.
How many hours are in a day?|24|There are 24 hours in a day.
How many minutes are in an hour?|60|There are 60 minutes in an hour.
How many seconds are in a minute?|60|There are 60 seconds in a minute.
How many days are in a year?|365|There are 365 days in a year, and 366 in a leap year.
How many weeks are in a year?|52|There are 52 weeks in a year.
How many centimeters are in a meter?|100|There are 100 centimeters in a meter.
How many meters are in a kilometer?|1000|There are 1000 meters in a kilometer.
How many grams are in a kilogram?|1000|There are 1000 grams in a kilogram.
How many sides does a triangle have?|Three|A triangle has three sides.
How many sides does a square have?|Four|A square has four equal sides.
How many sides does a hexagon have?|Six|A hexagon has six sides.
How many sides does a pentagon have?|Five|A pentagon has five sides.
How many continents are there?|Seven|There are seven continents: Africa, Antarctica, Asia, Australia, Europe, North America and South America.
How many planets are in the solar system?|Eight|There are eight planets: Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus and Neptune.
How many legs does a spider have?|Eight|A spider has eight legs.
How many legs does an insect have?|Six|An insect has six legs.
How many fingers are on one hand?|Five|One hand has five fingers, counting the thumb.
How many letters are in the English alphabet?|26|The English alphabet has 26 letters.
How many colors are in a rainbow?|Seven|A rainbow is usually said to have seven colors: red, orange, yellow, green, blue, indigo and violet.
How many wheels does a bicycle have?|Two|A bicycle has two wheels.
How many strings does a guitar have?|Six|A guitar usually has six strings.
How many keys does a piano have?|88|A piano has 88 keys.
How many players are on a football team?|Eleven|A football team has eleven players on the field.
How many seasons are there?|Four|There are four seasons: spring, summer, autumn and winter.
How many eggs are in a dozen?|Twelve|A dozen eggs is twelve eggs.
What is the largest planet?|Jupiter|Jupiter is the largest planet in the solar system.
What is the smallest planet?|Mercury|Mercury is the smallest planet in the solar system.
Which planet is closest to the Sun?|Mercury|Mercury is the planet closest to the Sun.
Which planet do we live on?|Earth|We live on Earth, the third planet from the Sun.
Which planet is called the red planet?|Mars|Mars is called the red planet, because its soil is full of rust.
What is the largest ocean?|The Pacific|The Pacific Ocean is the largest ocean.
What is the longest river in Africa?|The Nile|The Nile is the longest river in Africa.
What is the largest animal?|The blue whale|The blue whale is the largest animal on Earth.
What is the tallest animal?|The giraffe|The giraffe is the tallest animal.
What is the fastest land animal?|The cheetah|The cheetah is the fastest land animal.
What is the highest mountain?|Mount Everest|Mount Everest is the highest mountain in the world.
What is the largest desert?|Antarctica|Antarctica is the largest desert; the largest hot desert is the Sahara.
What is the largest country?|Russia|Russia is the largest country by area.
What is the largest continent?|Asia|Asia is the largest continent.
What is the chemical symbol for water?|H2O|The formula of water is H2O: two hydrogen atoms and one oxygen atom.
What is the chemical symbol for gold?|Au|The chemical symbol for gold is Au.
What is the chemical symbol for iron?|Fe|The chemical symbol for iron is Fe.
What is the chemical symbol for oxygen?|O|The chemical symbol for oxygen is O.
At what temperature does water boil?|100 degrees Celsius|Water boils at 100 degrees Celsius at sea level.
At what temperature does water freeze?|0 degrees Celsius|Water freezes at 0 degrees Celsius.
What do plants need to grow?|Light, water and air|Plants need light, water, air and nutrients from the soil.
What gas do we breathe in to live?|Oxygen|We need oxygen from the air to live.
What gas do plants take in?|Carbon dioxide|Plants take in carbon dioxide and give off oxygen.
What is frozen water called?|Ice|Frozen water is called ice.
What do bees make?|Honey|Bees make honey from the nectar of flowers.
What do cows give us to drink?|Milk|Cows give us milk.
What is bread made from?|Flour|Bread is made from flour, water, salt and yeast.
What is paper made from?|Wood|Paper is usually made from wood.
What is glass made from?|Sand|Glass is made by melting sand.
What is cheese made from?|Milk|Cheese is made from milk.
What is wine made from?|Grapes|Wine is made from grapes.
Where does the Sun rise?|In the east|The Sun rises in the east.
Where does the Sun set?|In the west|The Sun sets in the west.
What star is closest to Earth?|The Sun|The Sun is the star closest to Earth.
What orbits the Earth?|The Moon|The Moon orbits the Earth.
Who wrote Romeo and Juliet?|William Shakespeare|William Shakespeare wrote Romeo and Juliet.
Who wrote Hamlet?|William Shakespeare|William Shakespeare wrote Hamlet.
Who painted the Mona Lisa?|Leonardo da Vinci|Leonardo da Vinci painted the Mona Lisa.
Who painted The Starry Night?|Vincent van Gogh|Vincent van Gogh painted The Starry Night.
Who discovered gravity?|Isaac Newton|Isaac Newton described the law of gravity.
Who developed the theory of relativity?|Albert Einstein|Albert Einstein developed the theory of relativity.
Who was the first person on the Moon?|Neil Armstrong|Neil Armstrong was the first person to walk on the Moon, in 1969.
Who discovered penicillin?|Alexander Fleming|Alexander Fleming discovered penicillin in 1928.
Who invented the telephone?|Alexander Graham Bell|Alexander Graham Bell is credited with inventing the telephone.
Who invented the light bulb?|Thomas Edison|Thomas Edison made the first practical light bulb.
Who invented the printing press?|Johannes Gutenberg|Johannes Gutenberg built the printing press in Europe around 1440.
Who invented the World Wide Web?|Tim Berners-Lee|Tim Berners-Lee invented the World Wide Web.
Who composed the Moonlight Sonata?|Ludwig van Beethoven|Ludwig van Beethoven composed the Moonlight Sonata.
What is the first month of the year?|January|January is the first month of the year.
What is the last month of the year?|December|December is the last month of the year.
Which month has the fewest days?|February|February has the fewest days: 28, or 29 in a leap year.
What is the opposite of north?|South|The opposite of north is south.
What color do you get from blue and yellow?|Green|Blue and yellow make green.
What color do you get from red and yellow?|Orange|Red and yellow make orange.
What color do you get from red and blue?|Purple|Red and blue make purple.
What are the primary colors?|Red, yellow and blue|In painting, the primary colors are red, yellow and blue.
What do you call a baby cat?|A kitten|A baby cat is called a kitten.
What do you call a baby dog?|A puppy|A baby dog is called a puppy.
What pumps blood through the body?|The heart|The heart pumps blood through the body.
What organ do we think with?|The brain|We think with the brain.
What do we use to hear?|Our ears|We use our ears to hear.
What do we use to see?|Our eyes|We use our eyes to see.
What is a group of wolves called?|A pack|A group of wolves is called a pack.
What is a group of fish called?|A school|A group of fish is called a school.
What is a group of birds called?|A flock|A group of birds is called a flock.
What language do people speak in Brazil?|Portuguese|People in Brazil speak Portuguese.
What is the currency of Japan?|The yen|The currency of Japan is the yen.
What is the currency of the United States?|The dollar|The currency of the United States is the dollar.
What is the currency of the United Kingdom?|The pound|The currency of the United Kingdom is the pound.
What is half of a hundred?|50|Half of a hundred is 50.
What shape is a ball?|A sphere|A ball is a sphere.
What shape is a wheel?|A circle|A wheel is a circle.
What do you use to cut paper?|Scissors|You use scissors to cut paper.
What do you use when it rains?|An umbrella|You use an umbrella when it rains.
What do you use to tell the time?|A clock|You use a clock or a watch to tell the time.
What do you wear on your feet?|Shoes|You wear socks and shoes on your feet.
What meal do people eat in the morning?|Breakfast|In the morning people eat breakfast.
What does a baker make?|Bread|A baker makes bread and cakes.
Who puts out fires?|Firefighters|Firefighters put out fires.
Who flies a plane?|A pilot|A pilot flies a plane.
Who takes care of your teeth?|A dentist|A dentist takes care of your teeth.""".split("\n")
]

YES_NO = [tuple(p.strip() for p in x.split("|")) for x in """Is the sky blue?|Yes|On a clear day the sky looks blue.
Is ice cold?|Yes|Ice is frozen water, so it is cold.
Is fire cold?|No|Fire is hot.
Can fish fly?|No|Fish swim; only flying fish glide for a moment above the water.
Can birds fly?|Yes|Most birds can fly, though penguins and ostriches can't.
Can penguins fly?|No|Penguins can't fly, but they swim very well.
Is a whale a fish?|No|A whale is a mammal.
Is a bat a bird?|No|A bat is a mammal that can fly.
Is a spider an insect?|No|A spider is an arachnid and has eight legs.
Is a tomato a fruit?|Yes|In botany a tomato is a fruit, though cooks treat it as a vegetable.
Is the Earth flat?|No|The Earth is round, almost a sphere.
Is the Earth round?|Yes|The Earth is almost a sphere.
Is the Sun a star?|Yes|The Sun is the star nearest to us.
Is the Moon a planet?|No|The Moon is a natural satellite of the Earth.
Is the Moon made of cheese?|No|The Moon is made of rock.
Does the Sun rise in the west?|No|The Sun rises in the east.
Is Paris in France?|Yes|Paris is the capital of France.
Is Rome in Spain?|No|Rome is the capital of Italy.
Is Tokyo in Japan?|Yes|Tokyo is the capital of Japan.
Is Africa a country?|No|Africa is a continent.
Is winter colder than summer?|Yes|Winter is usually colder than summer.
Is a kilogram more than a gram?|Yes|A kilogram is 1000 grams.
Is an hour longer than a minute?|Yes|An hour has 60 minutes.
Is an elephant bigger than a mouse?|Yes|An elephant is much bigger than a mouse.
Is a mouse bigger than a horse?|No|A horse is much bigger than a mouse.
Do plants need water?|Yes|Plants need water to grow.
Do cats lay eggs?|No|Cats are mammals and give birth to kittens.
Do hens lay eggs?|Yes|Hens lay eggs.
Do humans need sleep?|Yes|Sleep keeps people healthy.
Is gold a metal?|Yes|Gold is a metal.
Is wood a metal?|No|Wood comes from trees.
Is sugar sweet?|Yes|Sugar is sweet.
Is a lemon sweet?|No|A lemon is sour.
Is zero a number?|Yes|Zero is a number.
Can people breathe under water?|No|People need air, so divers carry it with them.
Can dogs read books?|No|Dogs can't read.
Is Monday before Tuesday?|Yes|Monday comes right before Tuesday.
Does a triangle have four sides?|No|A triangle has three sides.
Is a square round?|No|A square has four straight sides.
Is seven an odd number?|Yes|Seven can't be divided evenly by two.
Is ten an even number?|Yes|Ten can be divided evenly by two.""".split("\n")]

# topic: items (at least 12 each where it can be)
LISTS = {
    k.strip(): split(v)
    for k, v in (
        row.split(":", 1)
        for row in """fruits: apple, banana, orange, pear, grape, cherry, strawberry, mango, peach, plum, kiwi, pineapple, melon, lemon
vegetables: carrot, potato, tomato, cucumber, onion, spinach, broccoli, pepper, lettuce, pumpkin, cabbage, celery, zucchini
animals: dog, cat, horse, elephant, lion, rabbit, bear, fox, wolf, deer, tiger, monkey, giraffe, zebra
birds: sparrow, eagle, owl, robin, crow, swan, parrot, pigeon, penguin, duck, goose, seagull, woodpecker
insects: ant, bee, butterfly, beetle, mosquito, fly, grasshopper, ladybug, dragonfly, moth, cricket, wasp
colors: red, blue, green, yellow, orange, purple, pink, brown, black, white, gray, turquoise
countries: France, Japan, Brazil, Canada, Egypt, India, Italy, Mexico, Norway, Kenya, Spain, Australia, Germany, Peru
cities: Paris, London, Tokyo, Rome, Berlin, Madrid, Cairo, Lima, Oslo, Vienna, Dublin, New York, Sydney
capital cities: Paris, Tokyo, Rome, Berlin, Madrid, Cairo, Lima, Oslo, Vienna, Dublin, Athens, Warsaw
rivers: Nile, Amazon, Danube, Rhine, Thames, Ganges, Mississippi, Volga, Seine, Congo, Mekong, Yangtze
mountains: Mount Everest, K2, Mont Blanc, Kilimanjaro, Mount Fuji, Matterhorn, Denali, Mount Olympus, Aconcagua, Mount Etna
oceans: the Pacific Ocean, the Atlantic Ocean, the Indian Ocean, the Southern Ocean, the Arctic Ocean
planets: Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus, Neptune
flowers: rose, tulip, daisy, sunflower, lily, violet, orchid, poppy, lavender, daffodil, carnation, iris
trees: oak, pine, maple, birch, willow, beech, cedar, elm, apple tree, palm, fir, chestnut
sports: football, basketball, tennis, swimming, running, cycling, volleyball, hockey, baseball, boxing, rowing, skiing
games: chess, checkers, hide-and-seek, tag, dominoes, poker, bingo, charades, hopscotch, tic-tac-toe, darts, backgammon
musical instruments: piano, guitar, violin, drums, flute, trumpet, cello, saxophone, harp, clarinet, accordion, trombone
jobs: teacher, doctor, nurse, baker, farmer, pilot, cook, engineer, lawyer, carpenter, painter, firefighter
tools: hammer, screwdriver, saw, wrench, pliers, drill, tape measure, level, chisel, axe, shovel, file
kitchen items: knife, fork, spoon, plate, bowl, cup, pan, pot, cutting board, whisk, kettle, grater
school subjects: mathematics, history, geography, biology, chemistry, physics, art, music, English, physical education, computer science
books: Don Quixote, Hamlet, Moby-Dick, The Odyssey, War and Peace, Frankenstein, Dracula, Pride and Prejudice, Jane Eyre, Treasure Island, The Iliad, Great Expectations
kinds of weather: sunny, rainy, cloudy, windy, snowy, foggy, stormy, humid, hot, cold, icy
vehicles: car, bus, bicycle, train, airplane, boat, truck, motorcycle, tram, helicopter, scooter, ship
shapes: circle, square, triangle, rectangle, oval, pentagon, hexagon, octagon, star, diamond, sphere, cube
emotions: joy, sadness, anger, fear, surprise, love, pride, shame, hope, jealousy, gratitude, excitement
hobbies: reading, painting, cooking, gardening, fishing, photography, dancing, hiking, knitting, singing, chess, writing
languages: English, Spanish, French, German, Chinese, Arabic, Hindi, Japanese, Italian, Portuguese, Russian, Korean
desserts: ice cream, chocolate cake, apple pie, cookies, pudding, brownies, cheesecake, fruit salad, pancakes, donuts, tiramisu, muffins
drinks: water, tea, coffee, milk, orange juice, lemonade, apple juice, hot chocolate, soda, cocoa, smoothie, mineral water
breakfast ideas: oatmeal with fruit, scrambled eggs, toast with jam, yogurt with granola, pancakes, a boiled egg, a fruit smoothie, cereal with milk, a cheese omelet, avocado toast, a bagel with cream cheese
healthy snacks: apple slices, carrot sticks, a handful of nuts, yogurt, a banana, popcorn without butter, hummus with cucumber, a boiled egg, berries, rice cakes, cherry tomatoes, dried apricots
ways to relax: take a walk, read a book, listen to music, take a warm bath, breathe slowly, drink a cup of tea, stretch, call a friend, sit in a park, draw something, take a nap, meditate
ways to save money: make a budget, cook at home, compare prices, buy used things, turn off the lights, walk instead of driving, cancel what you don't use, bring your own lunch, use the library, wait a day before you buy, buy in bulk
ways to save water: take shorter showers, turn off the tap while brushing your teeth, fix dripping taps, run only full loads of laundry, water plants in the evening, collect rainwater, reuse cooking water for plants, use a bucket to wash the car, keep cold water in the fridge, choose plants that need little water
ways to save energy: turn off the lights, unplug chargers, wash clothes in cold water, use LED bulbs, close the windows in winter, air-dry the laundry, put a lid on the pot, lower the heating a little, take shorter showers, use public transport, switch off the computer at night
things to pack for a trip: passport, clothes, toothbrush, phone charger, comfortable shoes, water bottle, medicine, sunglasses, a jacket, a book, an umbrella, snacks
rules for a classroom: raise your hand before speaking, listen to the teacher, be kind to others, keep your desk tidy, arrive on time, do your homework, take turns, ask for help when you need it, walk and don't run, respect other people's things
reasons to read: you learn new things, it relaxes you, it improves your vocabulary, it trains your imagination, it helps you focus, it lets you see other lives, it makes you a better writer, it is good for your memory, it is fun, it costs little
benefits of exercise: a stronger heart, better sleep, more energy, a better mood, stronger muscles, less stress, a healthy weight, better balance, stronger bones, a sharper mind
benefits of sleep: a better mood, a sharper memory, more energy, a stronger immune system, faster reactions, better focus, a healthier heart, less stress, clearer skin, better decisions
uses of a paper clip: hold papers together, mark a page, reset a small device, hang an ornament, replace a zipper pull, hold a cable in place, make a small hook, clean a narrow hole, make a chain, bend it into a phone stand
questions for an interview: What does a normal day look like?, What are the goals of the team?, Why is this position open?, How is success measured?, What do you like about working here?, Who would I work with?, What are the next steps?, How do you support learning?, What are the biggest challenges?
names for a cat: Luna, Milo, Whiskers, Shadow, Simba, Cleo, Oliver, Pepper, Ginger, Misty, Felix, Smokey
names for a dog: Max, Bella, Buddy, Rocky, Daisy, Charlie, Cooper, Lucy, Bailey, Rex, Teddy, Sadie
names for a boat: Sea Breeze, Blue Horizon, Wind Dancer, Morning Star, Silver Wave, Lucky Star, Free Spirit, Ocean Pearl, Northern Light, Sunny Day
gift ideas: a book, a scarf, a box of chocolates, a plant, a board game, a mug, a candle, a photo album, a puzzle, concert tickets, a warm blanket, a notebook
weekend activities: go for a hike, visit a museum, bake a cake, watch a movie, meet friends, ride a bike, work in the garden, read a book, play a board game, go swimming, have a picnic
good habits: drink enough water, go to bed early, exercise every day, read every evening, eat vegetables, say thank you, keep your room tidy, plan your day, save some money, wash your hands, take breaks
inventions: the wheel, the printing press, the telephone, the light bulb, the airplane, the computer, the steam engine, the camera, the radio, the telescope, the bicycle, the compass
scientists: Isaac Newton, Albert Einstein, Marie Curie, Charles Darwin, Galileo Galilei, Ada Lovelace, Nikola Tesla, Louis Pasteur, Alan Turing, Johannes Kepler, Michael Faraday, Rosalind Franklin
famous painters: Leonardo da Vinci, Vincent van Gogh, Pablo Picasso, Claude Monet, Rembrandt, Frida Kahlo, Michelangelo, Johannes Vermeer, Paul Cézanne, Salvador Dalí, Gustav Klimt, Henri Matisse
composers: Mozart, Beethoven, Bach, Chopin, Vivaldi, Schubert, Brahms, Handel, Tchaikovsky, Haydn, Debussy, Verdi
parts of the body: head, arm, leg, hand, foot, knee, shoulder, back, neck, finger, elbow, ear
parts of a computer: keyboard, screen, mouse, processor, memory, hard drive, power supply, graphics card, motherboard, fan, speaker
parts of a plant: root, stem, leaf, flower, seed, fruit, bud, petal
programming languages: Python, JavaScript, TypeScript, Java, C, C++, Rust, Go, Ruby, Swift, Kotlin, Haskell
sea animals: shark, dolphin, whale, octopus, crab, jellyfish, seal, starfish, turtle, squid, lobster, tuna
farm animals: cow, pig, sheep, goat, horse, chicken, duck, goose, donkey, turkey, rabbit
wild animals: lion, tiger, bear, wolf, elephant, giraffe, zebra, fox, deer, monkey, leopard, hippopotamus
pets: dog, cat, hamster, rabbit, goldfish, parrot, guinea pig, turtle, canary, mouse
holidays: Christmas, Easter, Halloween, New Year's Day, Thanksgiving, Hanukkah, Diwali, Eid, Valentine's Day, Carnival
pieces of furniture: table, chair, sofa, bed, desk, bookshelf, wardrobe, armchair, cupboard, stool, dresser, bench
clothes: shirt, trousers, dress, skirt, jacket, socks, hat, scarf, sweater, gloves, coat, jeans
spices: pepper, cinnamon, ginger, paprika, cumin, turmeric, nutmeg, saffron, cloves, cardamom, oregano, thyme
materials: wood, metal, glass, plastic, paper, stone, cotton, wool, leather, rubber, clay, silk
metals: gold, silver, iron, copper, aluminum, tin, lead, zinc, nickel, platinum, titanium
continents: Africa, Antarctica, Asia, Australia, Europe, North America, South America
days of the week: Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday
months: January, February, March, April, May, June, July, August, September, October, November, December
pizza toppings: cheese, tomato, mushrooms, olives, ham, onions, peppers, pineapple, basil, spinach, corn, salami
sandwich fillings: cheese, ham, tomato, lettuce, egg, tuna, cucumber, avocado, chicken, hummus, peanut butter
soups: tomato soup, chicken soup, onion soup, pumpkin soup, lentil soup, mushroom soup, potato soup, vegetable soup, pea soup, carrot soup
things in a garden: flowers, grass, a bench, a tree, a watering can, a fence, a path, bushes, a pond, a bird bath, a shed
things in a classroom: desks, chairs, a blackboard, books, a globe, a clock, pencils, a map, posters, a computer
things that fly: birds, airplanes, kites, butterflies, bees, balloons, helicopters, bats, drones, rockets
things that are round: a ball, a coin, a wheel, the moon, an orange, a plate, a button, a ring, a clock, a pizza
things that are cold: ice, snow, ice cream, a freezer, a winter wind, a glacier, an ice cube, the North Pole
office supplies: pens, paper, a stapler, paper clips, scissors, tape, envelopes, folders, sticky notes, a calculator
ways to learn a language: listen to songs, read easy books, speak with friends, learn five words a day, watch films with subtitles, keep a diary, use flash cards, take a class, label things at home, repeat aloud
ways to make friends: smile and say hello, join a club, ask questions, listen well, invite someone for coffee, be kind, share a hobby, remember names, offer help, be yourself
ways to be kind: help a neighbor, say thank you, listen to a friend, hold the door, share your food, write a kind note, smile at people, give a compliment, visit someone who is alone, forgive a mistake
study tips: make a plan, take short breaks, turn off your phone, explain it to someone, sleep well, write summaries, practice with old tests, start early, find a quiet place, drink water
ideas for dinner: pasta with tomato sauce, vegetable curry, roast chicken, fried rice, lentil soup, pizza, fish with potatoes, tacos, mushroom risotto, a big salad, omelet with cheese
rainy day activities: read a book, bake cookies, play a board game, watch a film, draw a picture, write a letter, build a blanket fort, do a puzzle, listen to music, tidy a drawer
summer activities: swim in a lake, eat ice cream, have a picnic, ride a bike, camp in a tent, play volleyball, watch the stars, go to the beach, pick berries, fly a kite
winter activities: build a snowman, drink hot chocolate, go skiing, read by the fire, go ice skating, bake cookies, knit a scarf, feed the birds, go sledding, watch a film""".split(
            "\n"
        )
    )
}

JOKES = [tuple(p.strip() for p in x.split("|")) for x in """Why did the bicycle fall over?|It was two-tired.
What do you call a bear with no teeth?|A gummy bear.
Why can't a nose be twelve inches long?|Because then it would be a foot.
Why did the student eat his homework?|Because the teacher said it was a piece of cake.
What do you call cheese that isn't yours?|Nacho cheese.
Why was the math book sad?|It had too many problems.
What has ears but can't hear?|A cornfield.
Why did the scarecrow win a prize?|Because he was outstanding in his field.
What do you call a sleeping dinosaur?|A dino-snore.
Why don't eggs tell jokes?|They would crack each other up.
What did one wall say to the other?|I'll meet you at the corner.
Why did the computer go to the doctor?|It had a virus.
What kind of tree fits in your hand?|A palm tree.
Why did the cookie go to the nurse?|It felt crumby.
What do you get when you cross a snowman and a vampire?|Frostbite.
Why are fish so smart?|They live in schools.
What do you call a fish without an eye?|A fsh.
Why did the tomato turn red?|It saw the salad dressing.
How does the ocean say hello?|It waves.
What is a cat's favorite color?|Purr-ple.
Why did the golfer bring two pairs of trousers?|In case he got a hole in one.
What do clouds wear under their clothes?|Thunderwear.
Why do bees have sticky hair?|They use honeycombs.
What is brown and sticky?|A stick.
Why did the banana go to the doctor?|It wasn't peeling well.
Where do sheep get their hair cut?|At the baa-baa shop.
What did zero say to eight?|Nice belt!
Why can't you trust stairs?|They are always up to something.""".split("\n")]
RIDDLES = [tuple(p.strip() for p in x.split("|")) for x in """What has hands but can't clap?|A clock.
What has keys but can't open a door?|A piano.
What gets wetter the more it dries?|A towel.
What has a neck but no head?|A bottle.
What goes up but never comes down?|Your age.
What has one eye but can't see?|A needle.
What has teeth but can't bite?|A comb.
What can you catch but not throw?|A cold.
What is full of holes but still holds water?|A sponge.
What has legs but can't walk?|A table.
What has words but never speaks?|A book.
What runs but never walks?|A river.
What belongs to you but is used more by others?|Your name.
What can travel around the world while staying in a corner?|A stamp.
What is always coming but never arrives?|Tomorrow.
What breaks when you say its name?|Silence.
What has a thumb and four fingers but is not alive?|A glove.
The more you take, the more you leave behind. What are they?|Footsteps.""".split("\n")]
INTERESTING = [x.strip() for x in """Honey never spoils. Pots of honey found in ancient tombs were still good to eat.
An octopus has three hearts, and its blood is blue.
A day on Venus is longer than a year on Venus, because it turns so slowly.
Bananas are berries, but strawberries are not.
Light from the Sun takes about eight minutes to reach us.
A group of flamingos is called a flamboyance.
Sea otters hold hands while they sleep, so that they don't drift apart.
Butterflies taste with their feet.
A snail can sleep for months when the weather is too dry.
The Eiffel Tower is a little taller in summer, because iron grows when it is warm.
Wombats make droppings in the shape of cubes.
A bolt of lightning is hotter than the surface of the Sun.
Trees in a forest can share food through fungi in the soil.
The shortest war in history lasted less than an hour.
Cows have best friends and are calmer when they are together.
The heart of a blue whale is about as big as a small car.
There are more stars in the universe than grains of sand on all the beaches of the Earth.
A hummingbird can fly backwards.
Sharks are older than trees.
The dot over the letters i and j is called a tittle.""".split("\n")]
