/**
 * Preloaded (`node --import`) by the npm scripts: says in one line that this Node is too old, before it trips over
 * TypeScript. Plain JavaScript of an old kind, so that any Node can read it.
 */
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  console.error(
    `Millrace needs Node 22.18 or newer; this is ${process.version}. On Linux and Windows "npm ci" brings Node 26 for the npm ` +
      `scripts (not with --omit=optional); elsewhere install it from https://nodejs.org.`,
  );
  process.exit(1);
}
