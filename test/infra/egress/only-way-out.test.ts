import { globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

/** Who may open client sockets, and why. */
const ALLOWED: Readonly<Record<string, string>> = {
  "src/infra/egress/connect.ts": "the guard",
  "src/infra/egress/tls.ts": "the guard's TLS",
  "src/infra/egress/resolve.ts": "the guard's resolver",
  "src/infra/egress/http-lanes.ts": "HTTP over sockets that the guard opened",
  "src/infra/coord/etcd-gateway.ts": "etcd over sockets that it is handed",
  "src/infra/metrics/otlp-sender.ts": "undici over the guard's sockets",
  "src/infra/cache/redis-client.ts": "Redis over sockets that the guard opened",
  "src/kube/transport.ts": "the API server, over sockets that it is handed",
  "src/cli/config/dial.ts": "a tool that people point at their own etcd",
  "src/cli/config/hook.ts": "an address that people name to be told",
  "src/cli/conformance-send.ts": "a tool that people point at their own receiver",
};

/** Imports of values that can open a socket or look a name up; servers, types and pure helpers are not meant. */
const CLIENTS: readonly RegExp[] = [
  /import (?!type\b)[^;]*\b(?:connect|createConnection|Socket)\b[^;]* from "node:(?:net|tls)"/,
  /import (?!type\b)[^;]*(?<!type )\b(?:request|get|Agent|globalAgent)\b[^;]* from "node:(?:http|https)"/,
  /import (?!type\b)[^;]* from "node:(?:dns|dns\/promises|dgram|http2|inspector)"/,
  /import (?!type\b)[^;{]*\{(?![^}]*\btype\b[^,}]*\}[^}]*$)[^}]*\b(?:Client|Pool|Agent|request|fetch|WebSocket|buildConnector)\b[^}]*\} from "undici"/,
  /import (?!type\b)[^;]* from "ioredis"/,
  /import (?:\* as \w+|\w+) from "node:(?:net|tls|http|https)"/,
  /\bglobalThis\.(?:fetch|WebSocket|EventSource)\b|(?<![\w.])fetch\(|new WebSocket\(/,
];

/** Type-only names inside a mixed import are no client. */
const withoutTypes = (source: string): string =>
  source.replaceAll(/\btype \w+,?\s*/g, "").replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, "");

test("[SEC-18] client sockets are opened in the guard, and by those who are handed its sockets", () => {
  const files = globSync("src/**/*.ts");
  const opening = files.filter((file) => {
    const source = readFileSync(file, "utf8");
    const typed = withoutTypes(source.replaceAll(/^import type [^;]*;$/gm, ""));
    return CLIENTS.some((client) => client.test(typed));
  });
  expect(files.length).toBeGreaterThan(40);
  expect(opening.filter((file) => ALLOWED[file] === undefined)).toEqual([]);
  expect(opening).toEqual(expect.arrayContaining(Object.keys(ALLOWED).filter((file) => files.includes(file))));
});

test.each([
  'import { connect } from "node:net";',
  'import { createServer, connect as dial } from "node:tls";',
  'import { request } from "node:https";',
  'import * as http from "node:http";',
  'import net from "node:net";',
  'import { lookup } from "node:dns/promises";',
  'import { Pool } from "undici";',
  'import { Redis } from "ioredis";',
  "const answer = await fetch(url);",
  "new WebSocket(url);",
])("[SEC-18] is seen: %s", (source) => {
  expect(CLIENTS.some((client) => client.test(withoutTypes(source)))).toBe(true);
});

test.each([
  'import { createServer, type Server } from "node:http";',
  'import { isIPv4 } from "node:net";',
  'import { createServer, type IncomingMessage } from "node:http";',
  'import { fetchTask } from "./fetch.ts";\nfetchTask(key);',
])("[SEC-18] is no client: %s", (source) => {
  expect(CLIENTS.some((client) => client.test(withoutTypes(source)))).toBe(false);
});
