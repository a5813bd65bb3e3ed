/**
 * Calls of tools in 10,000 streams: rendered by the published templates of ../shared, cut at random, read back by the parser
 * that the template chooses. `npm run check:tools`, `-- --seed N`.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { Random } from "../test/support/random.ts";
import { missing } from "../test/support/shared.ts";
import { roundTrips } from "../test/support/tool-streams.ts";

const absent = missing("data/templates");
if (absent !== false) {
  console.error(absent);
  process.exit(1);
}
const { values } = parseArgs({ options: { seed: { type: "string", default: "1" } } });
const { streams, templates, failures } = roundTrips(new Random(Number(values.seed)), 20, 10);
for (const failure of failures.slice(0, 20)) console.log(failure);
console.log(`seed ${values.seed}: ${streams} streams of ${templates} templates, ${failures.length} failures`);
process.exitCode = failures.length === 0 && streams >= 10_000 ? 0 : 1;
