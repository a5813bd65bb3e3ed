/**
 * Ops in their order → stages, and the time in which each buffer is alive. This is the one place that says where all
 * threads meet: before and after a wide op, around the row ops that follow it, and around a serial one. Row ops of a
 * stage share a unit of time, because threads are at different ops of it.
 */
import { Arena, type Buffer } from "./arena.ts";
import type {
  Place,
  Place8,
  PlaceLists,
  RowDraft,
  SerialDraft,
  Span,
  Stage,
  StageDraft,
  WideDraft,
} from "./instructions.ts";

/**
 * An op on its way into a stage. `perRow`: rows of a row op for each row of the step; `apart`: it begins a stage, because
 * it reads what other rows wrote.
 */
export type Step =
  | { readonly kind: "wide"; readonly draft: WideDraft }
  | { readonly kind: "rows"; readonly draft: RowDraft; readonly perRow: number; readonly apart?: true }
  | { readonly kind: "serial"; readonly draft: SerialDraft };

export function stagesOf(steps: readonly Step[]): StageDraft[] {
  const stages: { wide?: WideDraft; rows: RowDraft[]; perRow: number; serial?: SerialDraft }[] = [];
  for (const step of steps) {
    const last = stages.at(-1);
    const open = last !== undefined && last.serial === undefined ? last : undefined;
    switch (step.kind) {
      case "wide":
        stages.push({ wide: step.draft, rows: [], perRow: 1 });
        break;
      case "rows":
        // A thread's rows must be the same in all row ops of a stage.
        if (open !== undefined && step.apart !== true && (open.rows.length === 0 || open.perRow === step.perRow)) {
          open.rows.push(step.draft);
          open.perRow = step.perRow;
        } else {
          stages.push({ rows: [step.draft], perRow: step.perRow });
        }
        break;
      case "serial":
        if (open !== undefined) open.serial = step.draft;
        else stages.push({ rows: [], perRow: 1, serial: step.draft });
        break;
      default:
        step satisfies never;
    }
  }
  return stages;
}

/** Marks when the stages, which begin after `time`, touch their buffers. Returns the time of the last one. */
export function touchBuffers(stages: readonly StageDraft[], time: number): number {
  let now = time;
  for (const { wide, rows, serial } of stages) {
    for (const ops of [wide === undefined ? [] : [wide], rows, serial === undefined ? [] : [serial]]) {
      if (ops.length > 0) now += 1;
      for (const op of ops) for (const buffer of buffersOf(op)) Arena.touch(buffer, now);
    }
  }
  return now;
}

/** Once the arena is planned: the stage as the executor reads it. */
export function finish(stage: StageDraft): Stage {
  const { wide, rows, perRow, serial } = stage;
  return {
    ...(wide && { wide: finishOp(wide) as NonNullable<Stage["wide"]> }),
    rows: rows.map((op) => finishOp(op) as Stage["rows"][number]),
    perRow,
    ...(serial && { serial: finishOp(serial) as NonNullable<Stage["serial"]> }),
  };
}

export function spanOf(place: Place): Span {
  return [place.buffer.at + 4 * place.column, place.stride];
}

type Operand = Place | Place8 | PlaceLists;

function isOperand(field: unknown): field is Operand {
  return typeof field === "object" && field !== null && "kind" in field;
}

function buffersOf(op: RowDraft | WideDraft | SerialDraft): Buffer[] {
  return Object.values(op).flatMap((field: unknown) => {
    if (!isOperand(field)) return [];
    switch (field.kind) {
      case "rows":
        return [field.buffer];
      case "int8":
        return [field.codes, field.scales, field.sums];
      case "lists":
        return [field.offsets, field.active, field.rowIndex, field.place];
      default:
        return field satisfies never;
    }
  });
}

/** The op with bytes of the arena in place of its operands; the union's other fields stay. */
function finishOp(op: RowDraft | WideDraft | SerialDraft): unknown {
  const encode = (field: unknown): unknown => {
    if (!isOperand(field)) return field;
    switch (field.kind) {
      case "rows":
        return spanOf(field);
      case "int8":
        return [field.codes.at, field.scales.at, field.sums.at, field.cols];
      case "lists":
        return [field.offsets.at, field.active.at, field.rowIndex.at, field.place.at];
      default:
        return field satisfies never;
    }
  };
  return Object.fromEntries(Object.entries(op).map(([name, field]) => [name, encode(field)]));
}
