/** What passes tell: plain values, for people and for a file's metadata. */

/** A value that can be written into a file's metadata. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** What a pass did. */
export type PassReport = Readonly<Record<string, Json>>;
