/**
 * Where a graph's values lie in the arena while a program is emitted: new rows, views of columns, and whether an op may
 * write over what it reads. It knows who reads a value and when, not what the ops compute.
 */
import { UnsupportedError, invariant } from "../../errors.ts";
import type { Graph, GraphNode, Value } from "../../graph/graph.ts";
import { rowOutputs } from "../../graph/shapes.ts";
import { Arena, type Buffer } from "./arena.ts";
import type { Place, Place8, PlaceLists } from "./instructions.ts";

export class Places {
  /** In the order of emission: values over the step's tokens, then those of each output. */
  readonly order: readonly Value[];
  readonly arena = new Arena();
  /** For each value: the output whose rows it has; undefined: the step's tokens. */
  readonly #outputOf: readonly (string | undefined)[];
  readonly #graph: Graph;
  readonly #rank: ReadonlyMap<Value, number>;
  /** Direct users. */
  readonly #users: readonly (readonly Value[])[];
  /** Values that the plan may ask for: nobody writes over them. */
  readonly #results: ReadonlySet<Value>;
  /** Buffers that are read outside of their instructions: results, and what `rows` reads in each pass. */
  readonly #lasting = new Set<Buffer>();
  readonly #places = new Map<Value, Place | Place8>();
  readonly #views = new Map<Buffer, Value[]>();
  readonly #maxRows: (output: string | undefined) => number;

  constructor(graph: Graph, outputs: readonly string[], maxRows: (output: string | undefined) => number) {
    this.#graph = graph;
    this.#maxRows = maxRows;
    this.#outputOf = rowOutputs(graph.nodes);
    const values = [...graph.nodes.keys()];
    const users: Value[][] = values.map(() => []);
    for (const [value, node] of graph.nodes.entries()) for (const input of node.inputs) users[input]?.push(value);
    this.#users = users;
    this.order = [undefined, ...outputs].flatMap((output) => values.filter((v) => this.#outputOf[v] === output));
    this.#rank = new Map(this.order.map((value, rank) => [value, rank]));
    this.#results = new Set(graph.outputs.values());
  }

  node(value: Value): GraphNode {
    const node = this.#graph.nodes[value];
    invariant(node, `no node %${value}`);
    return node;
  }

  width(value: Value): number {
    const width = this.#graph.widths[value];
    invariant(width !== undefined, `no width of %${value}`);
    return width;
  }

  outputOf(value: Value): string | undefined {
    return this.#outputOf[value];
  }

  users(value: Value): readonly Value[] {
    // An output that isn't compiled reads nothing.
    return (this.#users[value] ?? []).filter((user) => this.#rank.has(user));
  }

  isResult(value: Value): boolean {
    return this.#results.has(value);
  }

  rank(value: Value): number {
    const rank = this.#rank.get(value);
    invariant(rank !== undefined, `%${value} is not emitted`);
    return rank;
  }

  maxRows(value: Value): number {
    return this.#maxRows(this.outputOf(value));
  }

  /** Room for `rows` rows of `width` values of 4 bytes. */
  newRows(rows: number, width: number): Place {
    const buffer = this.arena.allocate(rows * width * 4);
    return { kind: "rows", buffer, stride: width, column: 0, width };
  }

  newRows8(rows: number, cols: number): Place8 {
    if (cols % 32 !== 0) throw new UnsupportedError(`A row of ${cols} columns can't be quantised in blocks of 32.`);
    const codes = this.arena.allocate(rows * cols);
    const scales = this.arena.allocate((rows * cols) / 8);
    const sums = this.arena.allocate((rows * cols) / 4);
    return { kind: "int8", codes, scales, sums, cols };
  }

  newLists(experts: number, assignments: number): PlaceLists {
    const list = (count: number): Buffer => this.arena.allocate(count * 4);
    const [offsets, active] = [list(experts + 1), list(experts + 1)];
    return { kind: "lists", offsets, active, rowIndex: list(assignments), place: list(assignments) };
  }

  newValue(value: Value): Place {
    return this.put(value, this.newRows(this.maxRows(value), this.width(value)));
  }

  put(value: Value, place: Place): Place {
    this.#places.set(value, place);
    const views = this.#views.get(place.buffer);
    if (views) views.push(value);
    else this.#views.set(place.buffer, [value]);
    return place;
  }

  put8(value: Value, place: Place8): void {
    this.#places.set(value, place);
  }

  has(value: Value): boolean {
    return this.#places.has(value);
  }

  rows(value: Value): Place {
    const place = this.#places.get(value);
    invariant(place?.kind === "rows", `%${value} has no rows yet`);
    return place;
  }

  rows8(value: Value): Place8 {
    const place = this.#places.get(value);
    invariant(place?.kind === "int8", `%${value} has no int8 rows yet`);
    return place;
  }

  /** Each pass over an output's rows reads these again. */
  keep(place: Place): void {
    this.#lasting.add(place.buffer);
  }

  /** Buffers that are read until the end of all stages. */
  lasting(): Iterable<Buffer> {
    return this.#lasting;
  }

  /** May the node `by`, executed at `rank`, write over what it reads as `value`? Nobody else reads those columns later. */
  canOverwrite(value: Value, by: Value, rank: number): boolean {
    if (this.outputOf(value) !== this.outputOf(by)) return false;
    const place = this.rows(value);
    if (this.#lasting.has(place.buffer)) return false;
    return (this.#views.get(place.buffer) ?? []).every((other) => {
      const view = this.rows(other);
      const apart = view.column + view.width <= place.column || place.column + place.width <= view.column;
      // A slice's source counts through its slices.
      return apart || this.#ownReads(other, by) < rank;
    });
  }

  /** The input's place where the node may write there, else a new one. */
  inPlace(value: Value, inputs: readonly Value[]): Place {
    const rank = this.rank(value);
    for (const input of inputs) if (this.canOverwrite(input, value, rank)) return this.put(value, this.rows(input));
    return this.newValue(value);
  }

  /** The last rank at which `value` itself is read; slices that have places are views of their own. */
  #ownReads(value: Value, except: Value): number {
    if (this.isResult(value)) return Infinity;
    let last = -1;
    for (const user of this.users(value)) {
      if (user === except) continue;
      if (this.node(user).op !== "slice") last = Math.max(last, this.rank(user));
      else if (!this.has(user)) last = Math.max(last, this.#ownReads(user, except));
    }
    return last;
  }
}
