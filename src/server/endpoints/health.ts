/** GET /health: is the server alive, and does it take work? 503 while it drains, or where a model's engine is gone. Open to everybody. */
import { z } from "zod";

import type { Endpoint } from "../endpoint.ts";

const Health = z.strictObject({ status: z.enum(["ready", "draining", "failed"]) }).meta({ id: "Health" });

export const ready: Endpoint = {
  method: "GET",
  path: "/health",
  summary: "Whether the server takes work",
  open: true,
  answer: Health,
  handle(_call, service) {
    const status = service.isDraining ? "draining" : service.hasFailed ? "failed" : "ready";
    return Response.json({ status }, { status: status === "ready" ? 200 : 503 });
  },
};

export const live: Endpoint = {
  method: "GET",
  path: "/health/live",
  summary: "Whether the server is alive",
  open: true,
  answer: z.strictObject({ status: z.literal("live") }),
  handle() {
    return Response.json({ status: "live" });
  },
};
