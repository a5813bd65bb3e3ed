/**
 * What a grammar is made of: extended regular expressions over UTF-8 bytes, whose leaves may call rules. These are the kinds;
 * expression-pool.ts builds them, derivative.ts reads them byte by byte, parser.ts follows calls.
 */
import type { CodePoints } from "../../tokenizer/code-points.ts";
import type { Partition } from "./partition.ts";
import type { ByteString } from "./byte-string.ts";

/** What is computed lazily about an expression; forgotten when the pool's generation changes. */
export interface Memo {
  generation: number;
  partition: Partition | undefined;
  /** Next expression by class of byte. */
  next: (Expression | undefined)[];
  /** Next expression by byte, where it was asked for so. */
  table: (Expression | undefined)[] | undefined;
  /** Does it match any string at all? Undefined: not known yet. */
  live: boolean | undefined;
  calls: readonly RuleCall[] | undefined;
  /** Of a lazy expression. */
  expansion: Expression | undefined;
}

export interface Common {
  readonly id: number;
  /** Matches the empty string, calls counting as non-empty. */
  readonly nullable: boolean;
  /** No rule is called inside, now or later: a derivative is all there is to follow. */
  readonly callFree: boolean;
  /** No intersection or complement inside: it is live because the builder drops what isn't. */
  readonly positive: boolean;
  readonly memo: Memo;
}

export type Expression = Common &
  (
    | { readonly kind: "none" | "empty" }
    /** One code point of `set`; after its lead byte: the offsets in `set` with `tail` continuation bytes to come. */
    | { readonly kind: "char"; readonly set: CodePoints; readonly tail: number }
    /** One of some byte strings: sorted, distinct. */
    | { readonly kind: "words"; readonly words: readonly ByteString[] }
    | { readonly kind: "concat"; readonly left: Expression; readonly right: Expression }
    | { readonly kind: "alternatives" | "both"; readonly list: readonly Expression[] }
    | { readonly kind: "repeat"; readonly of: Expression; readonly min: number; readonly max: number }
    | { readonly kind: "complement"; readonly of: Expression }
    | { readonly kind: "call"; readonly rule: Rule }
    /** A state of a hand-written automaton. */
    | { readonly kind: "machine"; readonly machine: Machine; readonly state: string }
    /** Inside a JSON string whose decoded content is `content` (json-text.ts). */
    | {
        readonly kind: "text";
        readonly content: Expression;
        readonly escape: string;
        readonly sink: TextSink | undefined;
      }
    /** Built when it is first read. */
    | { readonly kind: "lazy"; readonly expand: () => Expression }
  );

export type ExpressionKind = Expression["kind"];

export interface RuleCall {
  readonly rule: Rule;
  readonly after: Expression;
}

export interface Rule {
  readonly id: number;
  readonly name: string;
  /** Does the empty string match, calls followed? Set before a parse. */
  nullable: boolean;
  body(): Expression;
}

/** An automaton over bytes whose states are strings; a state that leads nowhere is undefined. */
export interface Machine {
  readonly id: number;
  readonly partition: Partition;
  step(state: string, byte: number): string | undefined;
  accepts(state: string): boolean;
}

/** Takes the content of a JSON string when it closes, and says what follows. */
export interface TextSink {
  /** The bytes so far, decoded. */
  readonly bytes: ByteString;
  readonly owner: { readonly id: number; finish(bytes: ByteString): Expression };
}
