/** Prints the random strings that record.py gives to Hugging Face `tokenizers`, one JSON text a line. */
import { randomText } from "../../test/random-text.ts";

const count = Number(process.argv[2] ?? 10_000);
const seed = Number(process.argv[3] ?? 1);
for (let index = 0; index < count; index++) process.stdout.write(`${JSON.stringify(randomText(seed, index))}\n`);
