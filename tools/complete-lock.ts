/**
 * `node tools/complete-lock.ts [LOCK]`, after every `npm install` that changed a lock (default: package-lock.json; bench/
 * has its own): enters the platform packages (of oxlint, oxfmt, …) that the registry in use doesn't have. npm leaves such
 * out of the lock, and then `npm ci` refuses it. Their version, system and processor follow from their parent's list and
 * their own name; where they exist, npm fetches them.
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";

interface Entry {
  version?: string;
  license?: string;
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

const FILE = process.argv[2] ?? "package-lock.json";
const SYSTEMS = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"];
/** Systems that some packages name otherwise than npm does. */
const ALIASES: Readonly<Record<string, string>> = { mac: "darwin", win: "win32" };
const PROCESSORS = ["arm", "arm64", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64"];

const lock = JSON.parse(readFileSync(FILE, "utf8")) as { packages: Record<string, Entry> };
let added = 0;
for (const parent of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const words = name.split(/[/-]/).map((word) => ALIASES[word] ?? word);
    const os = SYSTEMS.find((system) => words.includes(system));
    const cpu = PROCESSORS.find((processor) => words.includes(processor));
    const key = `node_modules/${name}`;
    if (os === undefined || cpu === undefined || !/^\d/.test(version) || key in lock.packages) continue;
    const libc = words.some((word) => word.startsWith("gnu"))
      ? ["glibc"]
      : words.includes("musl")
        ? ["musl"]
        : undefined;
    lock.packages[key] = {
      version,
      cpu: [cpu],
      ...(parent.dev === true ? { dev: true } : {}),
      ...(libc === undefined || os !== "linux" ? {} : { libc }),
      ...(parent.license === undefined ? {} : { license: parent.license }),
      optional: true,
      os: [os],
    };
    added++;
  }
}
const sorted = Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
writeFileSync(FILE, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, null, 2)}\n`);
console.error(`${added} platform packages entered into ${FILE}`);
