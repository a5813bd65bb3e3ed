/** Fields without those that are null or undefined: how an API's optional fields become the library's. */

export type Given<T> = { [K in keyof T]?: NonNullable<T[K]> };

export function given<T extends object>(fields: T): Given<T> {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(entries) as Given<T>;
}
