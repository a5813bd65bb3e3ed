/**
 * The server that check:hostile attacks: a tiny model behind HTTP in a process of its own, so that what it costs can be
 * seen from outside. Slow clients are cut off after a second here, instead of ten. Prints its address; ends with its input.
 */
import process from "node:process";

import { serveTiny } from "../test/support/served.ts";

const { url } = await serveTiny(
  { headersMs: 1000, requestMs: 2000, stallMs: 1000, maxQueue: 64 },
  { kvBytes: 16 * 2 ** 20 },
);
console.log(url);
process.stdin.resume().once("end", () => process.exit(0));
