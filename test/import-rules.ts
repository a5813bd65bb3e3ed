/**
 * The rules of imports, as a function from a tree of sources to complaints: rooms import downwards only (types too), no
 * cycle between files, `node:` and the addon only where an operating system is allowed, packages only if declared.
 * The scanner relies on the formatter: a static import or re-export begins its line.
 */
export interface SourceTree {
  /** Path below `src/`, with `/` → text. */
  readonly files: ReadonlyMap<string, string>;
  /** Names in package.json's `dependencies` and `peerDependencies`. */
  readonly packages: ReadonlySet<string>;
}

/** Top to bottom, as in the design; what a room may import stands at its own height (itself) or below. */
const ROOMS = [
  "index.ts",
  "ai-sdk",
  "cli",
  "server",
  "cluster",
  "program",
  "compress",
  "engine",
  "chat",
  "decode",
  "state",
  "models",
  "backend",
  "graph",
  "tokenizer",
  "artifact",
  "nearest.ts",
  "errors.ts",
];
/** What rooms above the engine may know of it. */
const ENGINE_DOORS: ReadonlySet<string> = new Set(["engine/client.ts", "engine/llm.ts", "engine/load.ts"]);
const NODE_ALLOWED = /^(cli|server|cluster|backend\/cpu)\/|^artifact\/node-[^/]*$|^engine\/thread\/node-[^/]*$/;
const ADDON_ALLOWED = /^backend\/cpu\//;

export function checkImports(tree: SourceTree): string[] {
  const complaints: string[] = [];
  const edges = new Map<string, string[]>();
  for (const [file, text] of tree.files) {
    const room = roomOf(file);
    const height = ROOMS.indexOf(room);
    if (height < 0) complaints.push(`${file}: ${room} is no room of the design`);
    if (!ADDON_ALLOWED.test(file) && /\bcreateRequire\b|\bdlopen\b|\.node["'`]/.test(text)) {
      complaints.push(`${file}: loads a native addon; only backend/cpu may`);
    }
    const targets: string[] = [];
    edges.set(file, targets);
    for (const specifier of importsOf(text)) {
      if (specifier.startsWith(".")) {
        const target = resolve(file, specifier);
        if (!tree.files.has(target)) complaints.push(`${file}: "${specifier}" isn't a file of src/`);
        targets.push(target);
        const below = ROOMS.indexOf(roomOf(target));
        if (below >= 0 && below < height) complaints.push(`${file}: imports upwards from ${target}`);
        if (height >= 0 && height < below && roomOf(target) === "engine" && !ENGINE_DOORS.has(target)) {
          complaints.push(`${file}: imports ${target}; the engine is reached by ${[...ENGINE_DOORS].join(", ")}`);
        }
      } else if (specifier.startsWith("node:")) {
        if (!NODE_ALLOWED.test(file)) complaints.push(`${file}: imports ${specifier}, which this room may not`);
      } else {
        const name = specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
        if (!tree.packages.has(name)) complaints.push(`${file}: imports ${name}, which isn't a dependency`);
      }
    }
  }
  for (const cycle of findCycles(edges)) complaints.push(`cycle: ${cycle.join(" → ")}`);
  return complaints;
}

function roomOf(file: string): string {
  return file.split("/", 1)[0] ?? file;
}

function importsOf(text: string): string[] {
  const forms = [
    /^(?:import|export)\s[^"';]*?\bfrom\s+["']([^"']+)["']/gm,
    /^import\s+["']([^"']+)["']/gm,
    /\bimport\(\s*["']([^"']+)["']/g,
    /\bgetBuiltinModule\(\s*["']([^"']+)["']/g,
  ];
  return forms.flatMap((form) => [...text.matchAll(form)].map((match) => match[1] ?? ""));
}

function resolve(file: string, specifier: string): string {
  const parts = file.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** One cycle for each back edge of a depth-first walk: none exactly if the graph has none. */
function findCycles(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = [];
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    const seen = path.indexOf(file);
    if (seen >= 0) cycles.push([...path.slice(seen), file]);
    if (seen >= 0 || finished.has(file)) return;
    path.push(file);
    for (const target of edges.get(file) ?? []) visit(target);
    path.pop();
    finished.add(file);
  };
  for (const file of edges.keys()) visit(file);
  return cycles;
}
