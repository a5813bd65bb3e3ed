/** The server's log: JSON lines for programs, short lines for a person at a terminal. No prompt and no answer stands in it. */

export type Fields = Readonly<Record<string, string | number | boolean | null | undefined>>;
export type Log = (level: "info" | "warn" | "error", message: string, fields?: Fields) => void;

export function createLog(write: (line: string) => void, forPeople: boolean): Log {
  return (level, message, fields = {}) => {
    const time = new Date();
    if (!forPeople) {
      write(JSON.stringify({ time: time.toISOString(), level, message, ...fields }));
      return;
    }
    const rest = Object.entries(fields).filter(([, value]) => value !== undefined);
    const words = rest.map(([name, value]) => `${name}=${typeof value === "number" ? round(value) : String(value)}`);
    const mark = level === "info" ? "" : `${level}: `;
    write([time.toTimeString().slice(0, 8), mark + message, ...words].join(" "));
  };
}

export const NO_LOG: Log = () => undefined;

function round(value: number): string {
  return String(Number(value.toPrecision(4)));
}
