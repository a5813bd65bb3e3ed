/**
 * GET /: the chat page, and its parts under /page/. They are static files beside this one and open to everybody. The page's
 * modules are TypeScript; run from source they are stripped of their types as they are asked for, in the published package
 * they are JavaScript already.
 */
import { readdirSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";

import type { Endpoint } from "../endpoint.ts";
import { HttpError } from "../failure.ts";

const FOLDER = new URL("../page/", import.meta.url);
const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  ts: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

export const page: Endpoint = {
  method: "GET",
  path: "/",
  summary: "A page to chat with the models, and to see the engine at work",
  open: true,
  answer: "text/html",
  handle: () => part("index.html"),
};

export const pagePart: Endpoint = {
  method: "GET",
  path: "/page/:file",
  summary: "A part of the page",
  open: true,
  answer: "text/javascript",
  handle: (call) => part(call.params["file"] ?? ""),
};

function part(name: string): Response {
  const names = readdirSync(FOLDER).filter((file) => !/\.test\.ts$|\.d\.ts$/.test(file));
  // The document asks for main.js; from source that is main.ts.
  const file = [name, name.replace(/\.js$/, ".ts")].find((known) => names.includes(known));
  const type = TYPES[file?.split(".").at(-1) ?? ""];
  if (file === undefined || type === undefined) throw new HttpError(404, "there is no such part of the page");
  const text = readFileSync(new URL(file, FOLDER), "utf8");
  const body = file.endsWith(".ts") ? stripTypeScriptTypes(text) : text;
  return new Response(body, { headers: { "content-type": type, "cache-control": "no-cache" } });
}
