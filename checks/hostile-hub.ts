/**
 * A hub that misbehaves, on 127.0.0.1, and homes that can't be written: what `millrace pull` makes of them. Part of
 * check:hostile; the transfer's own rules are tested in src/artifact/node-hub.test.ts.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";

export interface HubCase {
  readonly name: string;
  readonly answer: (request: IncomingMessage, response: ServerResponse, endpoint: string) => void;
  /** MILLRACE_HOME; default a folder of its own. */
  readonly home?: string;
  readonly says: RegExp;
}

/** Of a file of so many bytes, as its listing says. */
const listed = (size: unknown, path = "m-Q8_0.gguf"): string =>
  JSON.stringify([{ type: "file", path, oid: "0", size }]);
const isListing = (request: IncomingMessage): boolean => request.url?.startsWith("/api/") === true;

function sends(listing: string, body: (response: ServerResponse) => void): HubCase["answer"] {
  return (request, response) => (isListing(request) ? void response.end(listing) : body(response));
}

export const HUB_CASES: readonly HubCase[] = [
  { name: "a listing of no sizes", answer: sends(listed(undefined), (r) => r.end()), says: /with the size/ },
  { name: "a listing that is no list", answer: sends("5", (r) => r.end()), says: /gives no listing/ },
  { name: "a file shorter than listed", answer: sends(listed(1000), (r) => r.end("short")), says: /5 of 1000 bytes/ },
  {
    name: "a file longer than listed",
    answer: sends(listed(10), (r) => r.end("x".repeat(1000))),
    says: /breaks off|more than the 10 bytes/,
  },
  {
    name: "pages without end",
    answer(request, response, endpoint) {
      const page = Number(/page=(\d+)/.exec(request.url ?? "")?.[1] ?? 0) + 1;
      response.setHeader("link", `<${endpoint}/api/models/o/n/tree/main?page=${page}>; rel="next"`);
      response.end("[]");
    },
    says: /more than 200 pages/,
  },
  {
    name: "a listing without end",
    answer(_request, response) {
      const chunk = Buffer.alloc(1 << 20, " ");
      const more = (): void => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on("drain", more);
      more();
    },
    says: /an answer of more than/,
  },
  {
    name: "redirects in a circle",
    answer: (_request, response, endpoint) => void response.writeHead(302, { location: `${endpoint}/api/x` }).end(),
    says: /more than 10 redirects/,
  },
  {
    name: "a redirect to a file of this machine",
    answer: (_request, response) => void response.writeHead(302, { location: "file:///etc/passwd" }).end(),
    says: /is no web address/,
  },
  {
    name: "a name that steers the terminal",
    answer: sends(listed(1, "\u001b[2J-Q8_0.gguf"), (r) => r.end("x")),
    says: /^millrace: \P{Cc}*no GGUF file's name holds "Q8_0"/u,
  },
  {
    name: "a home in /proc",
    home: "/proc/x",
    answer: sends(listed(1), (r) => r.end("x")),
    says: /MILLRACE_HOME is \/proc\/x/,
  },
  {
    name: "a home that is a file",
    home: "/dev/null",
    answer: sends(listed(1), (r) => r.end("x")),
    says: /MILLRACE_HOME is/,
  },
];

/** Runs work beside a server; closes all its connections then. */
export async function withHub<T>(answer: HubCase["answer"], work: (endpoint: string) => Promise<T>): Promise<T> {
  let endpoint = "";
  const server = createServer((request, response) => answer(request, response, endpoint));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  endpoint = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  try {
    return await work(endpoint);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

export function pullLine(
  endpoint: string,
  folder: string,
  home = join(folder, "home"),
): { args: string[]; env: Record<string, string> } {
  return { args: ["pull", "hf:o/n:Q8_0"], env: { HF_ENDPOINT: endpoint, MILLRACE_HOME: home } };
}
