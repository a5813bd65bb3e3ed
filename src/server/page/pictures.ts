/**
 * The live view's pictures, each a function from numbers to marks on a canvas: steps against the budget, blocks by owner,
 * the prefix tree, a histogram. Colours are the style sheet's.
 */
export interface Ink {
  readonly river: string;
  readonly grain: string;
  readonly line: string;
  readonly soft: string;
  readonly pale: string;
  readonly sunken: string;
}

export interface Step {
  readonly tokens: number;
  readonly samples: number;
  readonly preempted: number;
}

/** The canvas' context in CSS pixels, cleared; its height is set here, its width is what the layout gives it. */
function begin(
  canvas: HTMLCanvasElement,
  height: number,
): { readonly c: CanvasRenderingContext2D; readonly width: number } | undefined {
  const width = canvas.clientWidth;
  const c = canvas.getContext("2d");
  if (c === null || width === 0) return undefined;
  const scale = devicePixelRatio;
  canvas.style.height = `${height}px`;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  c.setTransform(scale, 0, 0, scale, 0, 0);
  c.clearRect(0, 0, width, height);
  return { c, width };
}

const BAR = 4;

/** How many steps fit. */
export function stepCapacity(canvas: HTMLCanvasElement): number {
  return Math.max(1, Math.floor(canvas.clientWidth / BAR));
}

/** The newest step stands at the right. Heights grow with the logarithm: a decode of one token is seen beside a full prefill. */
export function drawSteps(canvas: HTMLCanvasElement, steps: readonly Step[], budget: number, ink: Ink): void {
  const drawn = begin(canvas, 92);
  if (drawn === undefined) return;
  const { c, width } = drawn;
  const [top, floor] = [7, 91];
  const heightOf = (tokens: number): number => ((floor - top) * Math.log2(1 + tokens)) / Math.log2(1 + budget);
  c.strokeStyle = ink.line;
  c.setLineDash([3, 3]);
  c.beginPath();
  c.moveTo(0, top - 0.5);
  c.lineTo(width, top - 0.5);
  c.stroke();
  c.setLineDash([]);
  c.fillStyle = ink.line;
  c.fillRect(0, floor, width, 1);
  steps.forEach(({ tokens, samples, preempted }, i) => {
    const x = width - (steps.length - i) * BAR;
    const [all, decoded] = [heightOf(tokens), heightOf(Math.min(samples, tokens))];
    c.fillStyle = ink.pale;
    c.fillRect(x, floor - all, BAR - 1, all);
    c.fillStyle = ink.river;
    c.fillRect(x, floor - decoded, BAR - 1, decoded);
    if (preempted > 0) {
      c.fillStyle = ink.grain;
      c.beginPath();
      c.arc(x + 1.5, 3, 2.4, 0, 7);
      c.fill();
    }
  });
}

/** A square a block, row by row in the order of the pool. */
export function drawBlocks(canvas: HTMLCanvasElement, letters: string, ink: Ink): void {
  const width = canvas.clientWidth;
  // As large as 150 pixels of height allow, and then as wide as the columns leave room.
  const rowsOf = (columns: number): number => Math.ceil(letters.length / columns);
  let columns = Math.max(1, Math.floor(width / 15));
  while (columns < width / 3 && (rowsOf(columns) * width) / columns > 150) columns += 1;
  const side = width / columns;
  const drawn = begin(canvas, Math.ceil(rowsOf(columns) * side));
  if (drawn === undefined) return;
  const { c } = drawn;
  const gap = side > 6 ? 1.5 : 0.8;
  const colours: Readonly<Record<string, string>> = { c: ink.pale, p: ink.river, s: ink.grain };
  for (let i = 0; i < letters.length; i++) {
    const x = (i % columns) * side;
    const y = Math.floor(i / columns) * side;
    c.fillStyle = colours[letters.charAt(i)] ?? ink.sunken;
    c.beginPath();
    c.roundRect(x, y, side - gap, side - gap, side > 6 ? 2 : 0.8);
    c.fill();
  }
}

/** From the left: each run as long as its blocks, its branches behind it, one below the other. */
export function drawPrefixes(
  canvas: HTMLCanvasElement,
  runs: readonly (readonly [number, number, boolean])[],
  ink: Ink,
): void {
  const leaves = runs.map(() => 0);
  const ends = runs.map(() => 0);
  runs.forEach(([parent, blocks], i) => (ends[i] = (ends[parent] ?? 0) + blocks));
  for (let i = runs.length - 1; i >= 0; i--) {
    leaves[i] = Math.max(1, leaves[i] ?? 0);
    const parent = runs[i]?.[0] ?? -1;
    if (parent >= 0) leaves[parent] = (leaves[parent] ?? 0) + (leaves[i] ?? 0);
  }
  const rows = runs.reduce((sum, [parent], i) => sum + (parent < 0 ? (leaves[i] ?? 0) : 0), 0);
  const row = Math.max(1.5, Math.min(9, 110 / Math.max(1, rows)));
  const drawn = begin(canvas, Math.max(12, Math.ceil(rows * row)));
  if (drawn === undefined) return;
  const { c, width } = drawn;
  const longest = Math.max(1, ...ends);
  const taken = new Map<number, number>();
  const tops: number[] = [];
  runs.forEach(([parent, blocks, inUse], i) => {
    const from = parent < 0 ? 0 : (tops[parent] ?? 0);
    const top = from + (taken.get(parent) ?? 0) * row;
    taken.set(parent, (taken.get(parent) ?? 0) + (leaves[i] ?? 1));
    tops[i] = top;
    const [x, end] = [((ends[i] ?? 0) - blocks) / longest, (ends[i] ?? 0) / longest];
    c.fillStyle = inUse ? ink.river : ink.pale;
    c.fillRect(x * width, top, Math.max(1, (end - x) * width - 1), Math.max(1, (leaves[i] ?? 1) * row - 1));
  });
}

/** Of seconds, in buckets; those before the first and behind the last that hold something are left out. */
export function drawHistogram(
  canvas: HTMLCanvasElement,
  bounds: readonly number[],
  counts: readonly number[],
  ink: Ink,
): void {
  const drawn = begin(canvas, 64);
  if (drawn === undefined) return;
  const { c, width } = drawn;
  const floor = 48;
  const first = Math.max(0, counts.findIndex((count) => count > 0) - 1);
  const last = Math.min(counts.length - 1, counts.findLastIndex((count) => count > 0) + 1);
  c.fillStyle = ink.line;
  c.fillRect(0, floor, width, 1);
  const most = Math.max(1, ...counts);
  const shown = Math.max(5, last - first + 1);
  const step = width / shown;
  c.font = "10px ui-sans-serif, system-ui, sans-serif";
  c.textAlign = "center";
  for (let i = first; i <= last; i++) {
    const height = ((counts[i] ?? 0) / most) * (floor - 4);
    const x = (i - first) * step;
    c.fillStyle = ink.river;
    c.beginPath();
    c.roundRect(x + 1, floor - height, step - 2, height, [2, 2, 0, 0]);
    c.fill();
    c.fillStyle = ink.soft;
    const bound = bounds[i];
    if (bound !== undefined && i < last) c.fillText(secondsText(bound), x + step, floor + 13);
  }
}

export function secondsText(seconds: number): string {
  return seconds < 1 ? `${Number((seconds * 1000).toPrecision(2))} ms` : `${seconds} s`;
}
