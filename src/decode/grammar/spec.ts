/** A grammar as plain data: what a request carries, JSON-serialisable, whole. compile.ts makes a `Grammar` of it. */

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };

export interface WhitespaceOption {
  /**
   * "compact": no white space between JSON's tokens; "spaced": one space behind each comma and colon; "flexible": any, as
   * RFC 8259 allows. Default "compact".
   */
  readonly whitespace?: "compact" | "spaced" | "flexible" | undefined;
}

/** How models write the arguments of a call, an object, where that isn't JSON (notation.ts). */
export type NotationSpec =
  /** `city="Paris", days=3`: Python's keyword arguments. */
  | { readonly kind: "keywords" }
  /** `{city:"Paris",days:3}` with quotes of its own, a control token or text. */
  | { readonly kind: "bare"; readonly quote: string; readonly isControl: boolean }
  /** One element after another: `open` name, then a string as it is or any other value as JSON, `close`. */
  | {
      readonly kind: "tags";
      readonly open: string;
      readonly beforeText: string;
      readonly beforeJson: string;
      readonly close: string;
    };

export interface SchemaOptions extends WhitespaceOption {
  /** Order of an object's keys: the schema's (other keys after them), or any. Default "schema". */
  readonly keyOrder?: "schema" | "any" | undefined;
  /** "enforce" refuses an unknown `format`, "annotate" ignores them all. Default "enforce". */
  readonly formats?: "enforce" | "annotate" | undefined;
  /** "anyOf" reads `oneOf` as `anyOf`; an answer may then match several. Default "exact". */
  readonly oneOf?: "exact" | "anyOf" | undefined;
  /** Objects with `properties` take no other keys where the schema leaves it open. Default false. */
  readonly strict?: boolean | undefined;
  /** Default: what `$schema` says, else "2020-12". */
  readonly draft?: "2020-12" | "7" | undefined;
}

export type GrammarSpec =
  /** JSON texts whose value validates. */
  | ({ readonly schema: JsonValue } & SchemaOptions)
  /** An object that validates, as the arguments of a call. */
  | { readonly call: JsonValue; readonly notation: NotationSpec }
  /** Any JSON text, or any object. */
  | ({ readonly json: true | "object" } & WhitespaceOption)
  /** Texts that a JavaScript regular expression matches from end to end. */
  | { readonly regex: string; readonly flags?: string | undefined }
  /** llama.cpp's notation; the text is what the rule `root` derives. */
  | { readonly gbnf: string }
  /** Lark's notation, the part that docs/structured-output.md tells; the text is what the rule `start` derives. */
  | { readonly lark: string }
  /** One of these texts. */
  | { readonly choice: readonly string[] }
  /** Exactly this text. */
  | { readonly text: string }
  /** The control token of this name, which no text matches. */
  | { readonly special: string }
  /** Any text up to and with the first occurrence of this one. */
  | { readonly until: string }
  /** Any text in which none of these occurs. */
  | { readonly without: readonly string[] }
  /** One after another. */
  | { readonly sequence: readonly GrammarSpec[] }
  | { readonly anyOf: readonly GrammarSpec[] }
  | { readonly repeat: GrammarSpec; readonly min?: number | undefined; readonly max?: number | undefined };
