/**
 * Prints, as JSON, every code point that Unicode normalisation can move, compose or decompose (as the Node that runs
 * this knows it), with its decomposition. unicode.py asks Hugging Face `tokenizers`, whose tables are older, which of
 * them it doesn't know.
 */
const moving: number[] = [];
const composites: [number, number[]][] = [];
const compatible: number[] = [];
for (let codePoint = 0; codePoint < 0x110000; codePoint++) {
  if (codePoint >= 0xd800 && codePoint <= 0xdfff) continue;
  const char = String.fromCodePoint(codePoint);
  const parts = char.normalize("NFD");
  if (char.normalize("NFKD") !== char) compatible.push(codePoint);
  if (parts !== char) composites.push([codePoint, Array.from(parts, (part) => part.codePointAt(0) ?? 0)]);
  // Marks of class 232 and 230 around it: one of the two changes places with any other mark.
  else if (`\u0315${char}`.normalize("NFD") !== `\u0315${char}` || `${char}\u0301`.normalize("NFD") !== `${char}\u0301`)
    moving.push(codePoint);
}
process.stdout.write(JSON.stringify({ moving, composites, compatible }));
