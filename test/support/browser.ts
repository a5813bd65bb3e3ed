/** Headless Chromium for tests of the page, where the machine has one. */
import { existsSync } from "node:fs";
import process from "node:process";
import { type Browser, chromium } from "playwright-core";

const PLACES = [
  process.env["CHROMIUM"] ?? "",
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];
const CHROMIUM = PLACES.find((place) => place !== "" && existsSync(place));

/** Why tests that need a browser are left out; false: they aren't. */
export const noBrowser: string | false =
  CHROMIUM === undefined ? "needs Chromium (apt install chromium, or CHROMIUM names one)" : false;

export function openBrowser(): Promise<Browser> {
  const quiet = [
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ];
  return chromium.launch({ executablePath: CHROMIUM ?? "", args: ["--no-sandbox", "--disable-gpu", ...quiet] });
}
