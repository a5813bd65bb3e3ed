/** The backends that suites run on. */
import type { Backend } from "../../src/backend/contract.ts";
import { createReferenceBackend } from "../../src/backend/reference/backend.ts";

/** The reference first. The caller closes them. */
export async function openBackends(): Promise<Backend[]> {
  return [createReferenceBackend()];
}
