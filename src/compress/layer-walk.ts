/**
 * Walks through a model layer by layer with the calibration's sequences: each layer runs by itself on the backend, its own
 * weights alone in memory, and tells what its matrices read; a pass may change its tensors, and what it changed computes the
 * next layer's inputs. Memory: the weights of one layer, twice where they change, and the rows between two layers.
 */
import type { ModelArtifact, Tensor } from "../artifact/artifact.ts";
import { memorySource } from "../artifact/byte-source.ts";
import type { Backend, CompileOptions } from "../backend/contract.ts";
import { BLOCK_TOKENS } from "../backend/contract.ts";
import { groupStates } from "../backend/groups.ts";
import { StepPlanBuffer } from "../backend/step-plan.ts";
import { invariant } from "../errors.ts";
import type { Value } from "../graph/graph.ts";
import { modelGraph } from "../models/models.ts";
import type { Calibration } from "./calibration.ts";
import { type Section, SECTION_INPUT, sectionGraph, type Sections, sectionsOf, zerosName } from "./sections.ts";

export interface WalkOptions {
  readonly backend: Backend;
  readonly calibration: Calibration;
  readonly signal?: AbortSignal | undefined;
}

/** The rows of a value for one sequence, `[tokens, width]`. They are valid during the call. */
export type RowListener = (value: Value, rows: Float32Array) => Promise<void> | void;

export class LayerWalk {
  readonly sections: Sections;
  readonly #artifact: ModelArtifact;
  readonly #options: WalkOptions;
  /** For each sequence what goes into the next layer, `[tokens, width]`. */
  #rows: Float32Array[] = [];
  #next = 0;

  private constructor(artifact: ModelArtifact, sections: Sections, options: WalkOptions) {
    this.#artifact = artifact;
    this.sections = sections;
    this.#options = options;
  }

  /** Before the first layer. @throws UnsupportedError where the layers of the model can't be run one by one */
  static async begin(artifact: ModelArtifact, options: WalkOptions): Promise<LayerWalk> {
    const context = Math.max(...options.calibration.sequences.map(({ length }) => length));
    const { graph } = await modelGraph(artifact, { context });
    const walk = new LayerWalk(artifact, sectionsOf(graph), options);
    walk.#rows = await walk.#run(walk.sections.embedding, new Map());
    return walk;
  }

  /** The layer that comes next, or undefined behind the last one. */
  get section(): Section | undefined {
    return this.sections.layers[this.#next];
  }

  /** What goes into the layer that comes next (or the head): for each sequence `[tokens, width]`. */
  get rows(): readonly Float32Array[] {
    return this.#rows;
  }

  /**
   * Runs the next layer as it is and tells, sequence by sequence, the rows of values within it.
   * @returns what comes out, for `advance`
   */
  observe(values: readonly Value[], listen: RowListener): Promise<Float32Array[]> {
    const { section } = this;
    invariant(section !== undefined, "behind the last layer");
    return this.#run(section, new Map(), values, listen);
  }

  /** Goes on with what the layer gave. */
  accept(rows: Float32Array[]): void {
    this.#rows = rows;
    this.#next++;
  }

  /** Runs the next layer with these tensors in the places of its own, and goes on with what comes out. */
  async advance(changed: ReadonlyMap<string, Tensor> = new Map()): Promise<void> {
    const { section } = this;
    invariant(section !== undefined, "behind the last layer");
    this.accept(await this.#run(section, changed));
  }

  async #run(
    section: Section,
    changed: ReadonlyMap<string, Tensor>,
    values: readonly Value[] = [],
    listen?: RowListener,
  ): Promise<Float32Array[]> {
    const { backend, calibration, signal } = this.#options;
    const { sequences } = calibration;
    const longest = Math.max(...sequences.map(({ length }) => length));
    const taps = [...new Set(values)];
    const named = new Map<string, Value>([["out", section.output], ...taps.map((v) => [`tap:${v}`, v] as const)]);
    const graph = sectionGraph(this.sections, section, named, longest);
    const width = section.input === undefined ? 0 : (this.sections.graph.widths[section.input] ?? 0);
    const zeros = zerosName(graph);
    const tensors = new Map([...this.#artifact.tensors, ...changed]);
    if (zeros !== undefined) tensors.set(zeros, zeroTensor(zeros, longest, width));
    const groups = groupStates([graph], "f16");
    const lowered = backend.lower(graph, { ...this.#artifact, tensors }, groups);
    const outputs = [...named.keys()];
    const options: CompileOptions = {
      stepTokens: longest,
      maxSequences: 1,
      maxOutputs: longest * outputs.length,
      samplerSlots: 1,
      maxListed: 0,
      maxMoves: 0,
      maxCopies: 0,
      outputs,
      ...(width > 0 && { inputs: [SECTION_INPUT], maxInputRows: longest }),
    };
    const weights = await backend.upload([lowered]);
    const blocks = Math.ceil(longest / BLOCK_TOKENS);
    const pool = await backend.allocate(
      groups,
      groups.map(() => blocks),
    );
    const program = await backend.compile(lowered, weights, pool, options);
    try {
      const plan = new StepPlanBuffer({
        ...options,
        groups: groups.length,
        context: longest,
        inputWidths: width > 0 ? [width] : [],
      });
      const all = Array.from({ length: longest }, (_, i) => i);
      const result: Float32Array[] = [];
      for (const [i, ids] of sequences.entries()) {
        signal?.throwIfAborted();
        plan.clear();
        plan.id = i + 1;
        // What scans come to isn't kept: no other step goes on from there.
        plan.addSequence(
          groups.map(({ kind }) => (kind === "recurrent" ? [] : Array.from({ length: blocks }, (_, b) => b))),
        );
        plan.addRows(ids, 0);
        const [input] = plan.inputs;
        if (input !== undefined) {
          input.rows.set(all.slice(0, ids.length));
          input.values.set(this.#rows[i] ?? []);
          input.count = ids.length;
        }
        for (const output of plan.outputs) {
          output.rows.set(all.slice(0, ids.length));
          output.count = ids.length;
        }
        const [out = new Float32Array(), ...tapped] = (await program.run(plan).result).outputs;
        result.push(out);
        for (const [t, value] of taps.entries()) await listen?.(value, tapped[t] ?? new Float32Array());
      }
      return result;
    } finally {
      await program.close();
      pool.close();
      weights.close();
    }
  }
}

function zeroTensor(name: string, rows: number, columns: number): Tensor {
  const bytes = new Uint8Array(4 * rows * columns);
  return {
    name,
    dtype: "F32",
    shape: [rows, columns],
    source: memorySource(name, bytes),
    offset: 0,
    byteLength: bytes.length,
  };
}
