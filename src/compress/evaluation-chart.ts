/** Loss against size as an SVG picture, both on logarithmic axes; the Pareto front is a line through the marked points. */
import { paretoFront } from "./evaluate.ts";

export interface ChartPoint {
  readonly name: string;
  readonly bytes: number;
  /** Kullback-Leibler divergence, nats a token; 0 (the base) is drawn at the lower edge. */
  readonly loss: number;
}

const WIDTH = 760;
const HEIGHT = 460;
const MARGIN = { left: 72, right: 24, top: 24, bottom: 52 };

export function evaluationChart(points: readonly ChartPoint[]): string {
  const positive = points.map(({ loss }) => loss).filter((loss) => loss > 0);
  const lowest = Math.min(...positive, 1) / 2;
  const losses = points.map(({ loss }) => Math.max(loss, lowest));
  const x = scale(
    points.map(({ bytes }) => bytes),
    [MARGIN.left, WIDTH - MARGIN.right],
  );
  const y = scale([...losses, lowest], [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const front = paretoFront(points);
  const place = (i: number): string => `${x(points[i]?.bytes ?? 1).toFixed(1)},${y(losses[i] ?? 1).toFixed(1)}`;
  const marks = points.map(({ name, bytes }, i) => {
    const isBest = front.includes(i);
    const [cx, cy] = place(i).split(",");
    const anchor = x(bytes) > WIDTH / 2 ? "end" : "start";
    const offset = anchor === "end" ? -8 : 8;
    return [
      `<circle cx="${cx}" cy="${cy}" r="${isBest ? 5 : 4}" fill="${isBest ? "#c2410c" : "#64748b"}"/>`,
      `<text x="${(x(bytes) + offset).toFixed(1)}" y="${Number(cy) - 7}" text-anchor="${anchor}">${escape(name)}</text>`,
    ].join("");
  });
  const ticks = [
    ...decades(losses).map((loss) => label(MARGIN.left - 8, y(loss) + 4, String(loss), "end")),
    ...points.slice(0, 1).map(() => label(WIDTH / 2, HEIGHT - 12, "size of the tensors (log)", "middle")),
    ...[Math.min(...points.map(({ bytes }) => bytes)), Math.max(...points.map(({ bytes }) => bytes))].map((bytes) =>
      label(x(bytes), HEIGHT - 32, `${(bytes / 1e6).toFixed(1)} MB`, "middle"),
    ),
  ];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    `<path d="M${MARGIN.left},${MARGIN.top}V${HEIGHT - MARGIN.bottom}H${WIDTH - MARGIN.right}" fill="none" stroke="#334155"/>`,
    `<text x="${MARGIN.left + 8}" y="${MARGIN.top}">KL divergence from the base, nats a token (log)</text>`,
    ...ticks,
    `<polyline points="${front.map(place).join(" ")}" fill="none" stroke="#c2410c" stroke-dasharray="4 3"/>`,
    ...marks,
    "</svg>",
    "",
  ].join("\n");
}

function scale(values: readonly number[], [from, to]: readonly [number, number]): (value: number) => number {
  const [low, high] = [Math.log(Math.min(...values)), Math.log(Math.max(...values))];
  const span = high - low || 1;
  return (value) => from + ((Math.log(value) - low) / span) * (to - from);
}

function decades(values: readonly number[]): number[] {
  const low = Math.ceil(Math.log10(Math.min(...values)));
  const high = Math.floor(Math.log10(Math.max(...values)));
  return Array.from({ length: Math.max(0, high - low + 1) }, (_, i) => 10 ** (low + i));
}

function label(x: number, y: number, text: string, anchor: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="#334155">${escape(text)}</text>`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
