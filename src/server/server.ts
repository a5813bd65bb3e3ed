/**
 * createServer: models behind HTTP. `fetch` answers requests without a network, for tests and other hosts; `listen` opens a
 * port, with limits on slow and silent connections; `drain` lets what is under way end, `close` doesn't.
 */
import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import { getRequestListener } from "@hono/node-server";

import type { Llm } from "../engine/llm.ts";
import { type ApiKey, ApiKeys } from "./api-keys.ts";
import { type App, createApp } from "./app.ts";
import { ENDPOINTS } from "./endpoints.ts";
import { type Log, NO_LOG } from "./log.ts";
import { ModelRooms } from "./model-rooms.ts";
import { Service } from "./service.ts";

export interface ServerOptions {
  /** Under the names that requests use. */
  readonly models: ReadonlyMap<string, Llm>;
  /** Models that are loaded when they are first asked for, and closed by the server. */
  readonly lazyModels?: ReadonlyMap<string, () => Promise<Llm>>;
  /** A lazy model that nobody has asked for so long is closed. Default: never. */
  readonly idleMs?: number | undefined;
  /** Weights and KV memory of the lazy models that are loaded at once. Default: no limit. */
  readonly memoryBytes?: number | undefined;
  /** Who may use it. Default: everybody who reaches it. */
  readonly apiKeys?: readonly ApiKey[];
  /** Origins of pages that may call it; "*": all. Default: its own page alone. */
  readonly cors?: readonly string[];
  /** Host names beside localhost, while there are no API keys. */
  readonly allowedHosts?: readonly string[];
  /** Answers that may wait for each model. Default 256. */
  readonly maxQueue?: number;
  /** Default 8 MiB. */
  readonly maxBodyBytes?: number;
  /** A client that reads nothing of a stream for so long is cut off. Default 60,000. */
  readonly stallMs?: number;
  /** A request's headers must come within so long. Default 10,000. */
  readonly headersMs?: number;
  /** The whole of a request must come within so long. Default 60,000. */
  readonly requestMs?: number;
  readonly log?: Log;
}

export interface Server {
  readonly fetch: App;
  /** Resolves with the port, which may be drawn (0). */
  listen(port: number, host: string): Promise<number>;
  /** Refuses new work, lets the rest end, then closes the port. The models stay open. */
  drain(): Promise<void>;
  /** Cuts every connection. */
  close(): Promise<void>;
}

/** A silent connection is kept a little longer than proxies keep theirs. */
const KEEP_ALIVE_MS = 75_000;

const IDLE_CHECK_MS = 50;

export function createServer(options: ServerOptions): Server {
  const { models, maxQueue = 256, maxBodyBytes = 8 * 2 ** 20, stallMs = 60_000, log = NO_LOG } = options;
  const { cors = [], allowedHosts = [], headersMs = 10_000, requestMs = 60_000 } = options;
  const timeouts = {
    headersTimeout: headersMs,
    requestTimeout: requestMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: Math.ceil(Math.min(headersMs, requestMs) / 5),
  };
  const keys = new ApiKeys(options.apiKeys ?? []);
  const origins = { cors, allowedHosts: allowedHosts.map((host) => host.toLowerCase()), checkHost: keys.isOpen };
  const { lazyModels: loaders = new Map(), idleMs, memoryBytes } = options;
  const rooms = new ModelRooms({ loaders, idleMs, memoryBytes, log });
  const service = new Service({ models, rooms, maxQueue, stallMs, log });
  const fetch = createApp({ service, endpoints: ENDPOINTS, keys, origins, maxBodyBytes });
  let http: HttpServer | undefined;

  const closeHttp = (): Promise<void> =>
    new Promise((resolve) => {
      const server = http;
      if (server === undefined) return resolve();
      // A connection that is still being written becomes idle later.
      const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
      server.close(() => {
        clearInterval(idle);
        resolve();
      });
    });

  return {
    fetch,
    listen(port, host) {
      const listener = getRequestListener((request, { outgoing }) => fetch(request, () => outgoing.destroy()), {
        overrideGlobalObjects: false,
      });
      const server = createHttpServer(timeouts, (request, response) => void listener(request, response));
      http = server;
      return new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, host, () => {
          const address = server.address();
          resolve(typeof address === "object" && address !== null ? address.port : port);
        });
      });
    },
    async drain() {
      await service.drain();
      await service.close();
      await closeHttp();
    },
    async close() {
      const closed = closeHttp();
      http?.closeAllConnections();
      await service.close();
      await closed;
    },
  };
}
