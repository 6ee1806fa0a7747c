// cli: what people call from a terminal: arguments in, tables and exit codes out.
// Nothing here decides about a switch; what it shows comes from the cluster or from a receiver and is escaped first.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline/promises";
import { parseArgs } from "node:util";
import { systemClock } from "../kube/clock.ts";
import { millisOf } from "../lib/time.ts";
import { CASES, type CaseResult, runConformance } from "../receiver/conformance.ts";
import type { Case, Target } from "../receiver/conformance-play.ts";
import { type Peer, sendTo } from "./conformance-send.ts";

const USAGE = `usage: npm run conformance -- URL [--token-file FILE] [--ca-file FILE] [--tenant NAMESPACE/ID]
                           [--only CASE …] [--wait-for-restart]

Tries the receiver at URL (http://host:port) against every rule of docs/receiver-guide.md.
It switches the tenants NAMESPACE/ID-CASE (default: conformance/probe-…), so point it at a trial instance.
--wait-for-restart asks you to restart the receiver where a rule is about what it remembers.`;

/** Receivers may cut \`appliedAt\` to seconds; only after more than one does a second effect show. */
const APPLIED_AT_SHOWS_AFTER = millisOf(1100);

class UsageError extends Error {}

interface Arguments {
  readonly peer: Peer;
  readonly tenant: Target["tenant"];
  readonly cases: readonly Case[];
  readonly waitForRestart: boolean;
}

async function main(argv: readonly string[]): Promise<number> {
  const { peer, tenant, cases, waitForRestart } = await readArguments(argv);
  const now = systemClock.now();
  const target: Target = {
    send: (request) => sendTo(peer, request),
    tenant,
    run: String(now),
    epoch: Math.floor(now / 1000),
    authenticates: peer.token !== null,
    pause: () => systemClock.sleep(APPLIED_AT_SHOWS_AFTER),
    ...(waitForRestart ? { restart: askForRestart } : {}),
  };
  const counts = { passed: 0, failed: 0, notTried: 0 };
  const failed: string[] = [];
  for await (const result of runConformance(target, cases)) {
    counts[result.outcome] += 1;
    if (result.outcome === "failed") failed.push(result.id);
    for (const line of linesOf(result)) console.log(line);
  }
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.notTried} not tried`);
  if (failed.length > 0) {
    console.error(`again: npm run conformance -- ${peer.origin} … ${failed.map((id) => `--only ${id}`).join(" ")}`);
  }
  return counts.failed === 0 && counts.passed > 0 ? 0 : 1;
}

async function readArguments(argv: readonly string[]): Promise<Arguments> {
  const { values, positionals } = parse(argv);
  const [address = "", ...more] = positionals;
  if (more.length > 0 || !/^https?:\/\/[^/]+\/?$/.test(address) || !URL.canParse(address)) {
    throw new UsageError("one URL of the form http://host:port is needed");
  }
  const [namespace = "", tenantId = "", ...rest] = values.tenant.split("/");
  if (rest.length > 0 || !/^[a-z0-9-]{1,61}$/.test(namespace) || !/^[A-Za-z0-9_-]{1,32}$/.test(tenantId)) {
    throw new UsageError(
      "--tenant takes NAMESPACE/ID; the id has at most 32 characters, since the case is added to it",
    );
  }
  const unknown = values.only.find((id) => !CASES.some((known) => known.id === id));
  if (unknown !== undefined)
    throw new UsageError(`there is no case of that name; there are ${CASES.map(({ id }) => id).join(", ")}`);
  return {
    peer: {
      origin: new URL(address).origin,
      token: values["token-file"] === undefined ? null : await readToken(values["token-file"]),
      ...(values["ca-file"] === undefined ? {} : { ca: await readText(values["ca-file"]) }),
    },
    tenant: { namespace, tenantId },
    cases: CASES.filter(({ id }) => values.only.length === 0 || values.only.includes(id)),
    waitForRestart: values["wait-for-restart"],
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        "token-file": { type: "string" },
        "ca-file": { type: "string" },
        tenant: { type: "string", default: "conformance/probe" },
        only: { type: "string", multiple: true, default: [] },
        "wait-for-restart": { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** The first one: the file may hold several during a rotation. */
async function readToken(path: string): Promise<string> {
  const [token = "", ...more] = (await readText(path)).trim().split(/\s+/);
  if (!/^[A-Za-z0-9._~+/-]{16,}=*$/.test(token) || more.some((other) => other.length < 16)) {
    throw new UsageError(`${path} holds no bearer token`);
  }
  return token;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch {
    throw new UsageError(`cannot read ${path}`);
  }
}

async function askForRestart(): Promise<void> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const gone = once(terminal, "close").then(() => {
    throw new UsageError("--wait-for-restart needs somebody at the terminal");
  });
  try {
    await Promise.race([terminal.question("Kill the receiver now, start it again, then press Enter. "), gone]);
  } finally {
    gone.catch(() => undefined);
    terminal.close();
  }
}

const MARKS: Readonly<Record<CaseResult["outcome"], string>> = {
  passed: "ok",
  failed: "FAILED",
  notTried: "not tried",
};

/** At most 100 columns. */
function linesOf({ id, rule, outcome, detail }: CaseResult): readonly string[] {
  const [first = "", ...more] = wrap(rule, 68);
  const head = `${MARKS[outcome].padEnd(10)} ${id.padEnd(20)} ${first}`;
  const indent = " ".repeat(32);
  return [head, ...more.map((line) => indent + line), ...wrap(detail, 66).map((line) => `${indent}→ ${line}`)];
}

function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(" ").filter((word) => word !== "")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`${error.message}\n\n${USAGE}`);
  process.exitCode = 2;
}
