/** Counters and histograms, and their text form as Prometheus reads it (version 0.0.4). What they count stands elsewhere. */

export type Labels = Readonly<Record<string, string>>;

export class Counter {
  readonly #values = new Map<string, { readonly labels: Labels; value: number }>();

  add(labels: Labels, amount = 1): void {
    const key = labelText(labels);
    const entry = this.#values.get(key);
    if (entry === undefined) this.#values.set(key, { labels, value: amount });
    else entry.value += amount;
  }

  /** `more` are labels that all its samples have. */
  lines(name: string, more: Labels = {}): string[] {
    return [...this.#values.values()].map(({ labels, value }) => sample(name, { ...more, ...labels }, value));
  }
}

export class Histogram {
  /** Upper bounds; a last one, infinite, is understood. */
  readonly bounds: readonly number[];
  /** Observations in each bucket, not cumulative. */
  readonly counts: number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  observe(value: number, times = 1): void {
    const at = this.bounds.findIndex((bound) => value <= bound);
    const bucket = at < 0 ? this.bounds.length : at;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + times;
    this.sum += value * times;
    this.count += times;
  }

  lines(name: string, labels: Labels): string[] {
    let total = 0;
    const buckets = this.counts.map((count, i) => {
      total += count;
      return `${name}_bucket${labelText({ ...labels, le: String(this.bounds[i] ?? "+Inf") })} ${total}`;
    });
    const text = labelText(labels);
    return [...buckets, `${name}_sum${text} ${this.sum}`, `${name}_count${text} ${this.count}`];
  }
}

export type MetricKind = "counter" | "gauge" | "histogram";

/** A metric with its heading. A counter's samples end in "_total", its heading too. */
export function metric(name: string, kind: MetricKind, help: string, lines: readonly string[]): string {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`, ...lines, ""].join("\n");
}

export function sample(name: string, labels: Labels, value: number): string {
  return `${name}${labelText(labels)} ${value}`;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escape(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escape(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
