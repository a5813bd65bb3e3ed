/** The backends that suites run on. */
import type { Backend } from "../../src/backend/contract.ts";
import { cpuIsas, createCpuBackend } from "../../src/backend/cpu/backend.ts";
import { createReferenceBackend } from "../../src/backend/reference/backend.ts";

/** The reference first, then the native backend on two threads. The caller closes them. */
export async function openBackends(): Promise<Backend[]> {
  return [createReferenceBackend(), await createCpuBackend({ threads: 2 })];
}

/** A native backend for each instruction set that this processor runs, best first. The caller closes them. */
export async function openIsas(threads: number): Promise<Backend[]> {
  const isas = await cpuIsas();
  return Promise.all(isas.map((isa) => createCpuBackend({ threads, isa })));
}

/** The same backend for several models: it outlives them. */
export function borrowed(backend: Backend): Backend {
  return {
    name: backend.name,
    profile: (kv) => backend.profile(kv),
    lower: (...given) => backend.lower(...given),
    upload: (...given) => backend.upload(...given),
    uploadAdapter: (...given) => backend.uploadAdapter(...given),
    blockBytes: (group) => backend.blockBytes(group),
    allocate: (...given) => backend.allocate(...given),
    compile: (...given) => backend.compile(...given),
    close: async () => undefined,
  };
}
