/** What a binary must not need: checked in its bytes, so that no tool of the platform is asked for. */
import { GLIBC, type PrebuildTarget } from "./targets.ts";

const ELF = "\x7fELF";
const MACH_O = "\xcf\xfa\xed\xfe";
const PE = "MZ";

/** In words; empty: nothing. */
export function missingFrom(binary: Uint8Array, target: Pick<PrebuildTarget, "platform" | "isMusl">): string[] {
  const text = Buffer.from(binary.buffer, binary.byteOffset, binary.byteLength).toString("latin1");
  const magic = { linux: ELF, darwin: MACH_O, win32: PE }[target.platform];
  if (!text.startsWith(magic)) return ["it is no binary of its platform"];
  const wanting: string[] = [];
  // Versions of symbols stand as texts in the table of names.
  const versions = new Set([...text.matchAll(/\0GLIBC_(\d+\.\d+)/g)].map((match) => match[1] ?? ""));
  for (const version of versions) {
    if (target.isMusl === true || isNewer(version, GLIBC)) wanting.push(`it needs glibc ${version}`);
  }
  if (/\0(GLIBCXX|CXXABI)_\d/.test(text) || /\0lib(std)?c\+\+\.so/.test(text))
    wanting.push("its C++ library is not its own");
  return wanting;
}

function isNewer(version: string, than: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [ownMajor = 0, ownMinor = 0] = than.split(".").map(Number);
  return major > ownMajor || (major === ownMajor && minor > ownMinor);
}
