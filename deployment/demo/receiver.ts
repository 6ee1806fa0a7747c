// demo: what `npm run demo` starts beside the operator. A service of one deploy unit that embeds the receiver library, writes
// down every effect, and can be told to misbehave. Nothing here is part of the product; nothing in src/ may import it.

import { appendFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { decodeJson, type Json } from "../../src/lib/json.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { formatInstant, millisOf, seconds } from "../../src/lib/time.ts";
import { bearerFromFile } from "../../src/receiver/bearer-from-file.ts";
import { readBody } from "../../src/receiver/body.ts";
import type { Apply } from "../../src/receiver/carry-out.ts";
import { digestOf } from "../../src/receiver/configuration.ts";
import { createReceiver, type ReceiverEvent } from "../../src/receiver/receiver.ts";
import { RECEIVER_PATH } from "../../src/receiver/request.ts";
import { openSqliteStore } from "../../src/receiver/sqlite-store.ts";
import { localClock as clock } from "../local/clock.ts";
import { isMode, SHOWS_AT, misbehave, type Misbehaviour, MODES } from "./misbehaviour.ts";

const USAGE = `usage: receiver.ts --unit blue|green --token-file FILE --store FILE [--port N] [--control-port N] [--log FILE]

Prints one line {"port","controlPort","pid"} once it listens on 127.0.0.1, and ends on SIGTERM.
POST /control on the control port takes {"mode", "tenant"?, "times"?, "status"?, "ms"?}:
${Object.entries(MODES)
  .map(([mode, does]) => `  ${mode.padEnd(12)} ${does}`)
  .join("\n")}`;

const EVERY_TENANT = "*";
const BEHAVED: Misbehaviour = { mode: "ok", status: 422, ms: 4000, times: null };

const { values } = parseArgs({
  options: {
    unit: { type: "string" },
    port: { type: "string", default: "0" },
    "control-port": { type: "string", default: "0" },
    "token-file": { type: "string" },
    store: { type: "string" },
    log: { type: "string" },
  },
});
const { unit, store: storePath, "token-file": tokenFile } = values;
if (unit === undefined || storePath === undefined || tokenFile === undefined) {
  console.error(USAGE);
  process.exit(2);
}
const logPath = values.log ?? `${storePath}.log`;

/** By `namespace/tenantId`, or for every tenant that has none of its own. */
const misbehaviours = new Map<string, Misbehaviour>();
/** Versions that took effect, the last two per tenant. */
const versions = new Map<string, readonly number[]>();

const keyFor = (tenant: string): string => (misbehaviours.has(tenant) ? tenant : EVERY_TENANT);

/** The misbehaviour that shows here; one that was asked for so many times is used up by it. */
function meet(tenant: string, where: string): Misbehaviour {
  const key = keyFor(tenant);
  const met = misbehaviours.get(key);
  if (met === undefined || SHOWS_AT[met.mode] !== where) return BEHAVED;
  if (met.times === null) return met;
  if (met.times <= 1) misbehaviours.delete(key);
  else misbehaviours.set(key, { ...met, times: met.times - 1 });
  return met;
}

/** One line per PUT, in the order in which they took effect. */
function writeLine(entry: Readonly<Record<string, unknown>>): void {
  const head = { time: formatInstant(clock.now()), pid: process.pid, unit };
  appendFileSync(logPath, `${JSON.stringify({ ...head, ...entry })}\n`);
}

const apply: Apply = async (configuration, { tenant, opId, fence, base, signal }) => {
  const { mode, ms } = meet(tenant, "apply");
  if (mode === "fail") throw new Error("told to fail");
  if (mode === "slow") await clock.sleep(millisOf(ms), signal);
  const { version, deployUnit } = configuration;
  versions.set(tenant, [...(versions.get(tenant) ?? []).slice(-1), version]);
  const digest = digestOf(configuration);
  writeLine({ tenant, opId, fence, base, version, deployUnit: deployUnit.name, digest, verdict: "applied" });
};

function report({ verdict, operation, seen }: ReceiverEvent): void {
  if (verdict === "applied" || verdict === "read") return; // the effect has its line already
  const { tenant, opId, fence, base, configuration, digest } = operation ?? {};
  const about = { version: configuration?.version, deployUnit: configuration?.deployUnit.name, digest };
  writeLine({ tenant, opId, fence, base, ...about, verdict, seen });
}

const store = openSqliteStore(storePath);
const authenticate = await bearerFromFile(tokenFile, clock);
const receiver = createReceiver({ store, apply, authenticate, clock, report });

function serve(request: IncomingMessage, response: ServerResponse): void {
  const tenant = (request.url ?? "").slice(RECEIVER_PATH.length);
  const met = meet(tenant, request.method ?? "");
  misbehave(met, request, response, {
    receiver,
    versionBefore: () => {
      const [before, last] = versions.get(tenant) ?? [];
      return last === undefined ? null : (before ?? null);
    },
  });
}

async function control(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await readBody(request, { bytes: 4096, timeout: seconds(5), clock });
  const text = body.is === "whole" ? new TextDecoder().decode(body.bytes) : "";
  const decoded = decodeJson(text, { depth: 4, keys: 16 });
  const order: Json = decoded.ok ? decoded.value : null;
  const mode = at(order, "/mode");
  const wanted = request.method === "POST" && request.url === "/control" && isMode(mode);
  if (wanted) {
    const tenant = at(order, "/tenant");
    misbehaviours.set(typeof tenant === "string" ? tenant : EVERY_TENANT, {
      mode,
      status: numberAt(order, "/status", 422),
      ms: numberAt(order, "/ms", 4000),
      times: numberAt(order, "/times", 0) || null,
    });
  }
  response.writeHead(wanted ? 200 : 400, { "content-type": "application/json" });
  response.end(JSON.stringify(wanted ? Object.fromEntries(misbehaviours) : { code: "ControlMalformed" }));
}

function numberAt(order: Json, pointer: string, fallback: number): number {
  const value = at(order, pointer);
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : fallback;
}

/** docs/receiver-guide.md, "The server round it". */
function listen(port: string, handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  const server = createServer(
    { headersTimeout: 5000, requestTimeout: 15_000, keepAliveTimeout: 30_000, maxHeaderSize: 16_384 },
    handler,
  );
  server.maxConnections = 128;
  const { promise, resolve, reject } = Promise.withResolvers<Server>();
  server.once("error", reject).listen(Number(port), "127.0.0.1", () => resolve(server));
  return promise;
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

const servers = [
  await listen(values.port, serve),
  await listen(values["control-port"], (request, response) => void control(request, response)),
] as const;
console.log(JSON.stringify({ port: portOf(servers[0]), controlPort: portOf(servers[1]), pid: process.pid }));

async function stop(): Promise<void> {
  await receiver.close();
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
  await store.close();
  process.exit(0);
}
process.once("SIGTERM", () => void stop());
process.once("SIGINT", () => void stop());
