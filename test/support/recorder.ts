import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createHash } from "node:crypto";
import { connect } from "node:net";
import type { ReceiverProcess } from "../../deployment/demo/children.ts";
import { localClock } from "../../deployment/local/clock.ts";
import { PollTimeoutError, until } from "../../deployment/local/poll.ts";
import { PUBLISH, RESTORE, WRITE } from "../../src/infra/cache/fenced-scripts.ts";
import { hexDigest } from "../../src/lib/digest.ts";
import { seconds } from "../../src/lib/time.ts";
import { checkAll, violationLines } from "../history/check-all.ts";
import type { Effect, Entry, Recording, Violation } from "../history/recording.ts";
import { encodeCommand, messagesOf } from "./fault-proxy-resp.ts";
import { gapsIn, openAuditLog } from "./audit-log.ts";
import { taskVersion, tenantVersion } from "./history-read.ts";
import type { StandRecord } from "./stand-record.ts";

/** Watches a stand from before its first object on, so that whatever its tests do is judged at its end. */
export interface Recorder extends AsyncDisposable {
  /** Judges a namespace as well. */
  follow(namespace: string, record: StandRecord): void;
  /** What is broken, one line each, beside what the test says that it breaks on purpose. */
  verdict(): Promise<readonly string[]>;
}

export interface Recorded {
  readonly env: Readonly<Record<string, string>>;
  readonly receivers: readonly ReceiverProcess[];
  /** Where operators write their logs. */
  readonly folder: string;
  readonly secrets: readonly string[];
  /** Endpoints whose receivers check no fence, and the ports that they have. */
  readonly unfenced: readonly { readonly name: string; readonly ports: readonly number[] }[];
  /** Ids of promises that the test breaks by hand. */
  readonly breaks: readonly string[];
}

const sha1 = (text: string): string => createHash("sha1").update(text).digest("hex");
const SCRIPTS = new Map([
  [sha1(WRITE), "write"],
  [sha1(RESTORE), "restore"],
  [sha1(PUBLISH), "publish"],
]);
/** What the test entry says on SIGTERM. */
const TOLD_TO_END = /"test":"told to end"/g;
const PATIENCE = seconds(3);

export async function openRecorder(recorded: Recorded): Promise<Recorder> {
  const followed = new Map<string, StandRecord>();
  const store = await openStoreLog(recorded, followed);
  const audit = await openAuditLog(recorded.env["AUDIT_LOG"]);
  const gaps = async (): Promise<readonly string[]> => {
    const logged = (await audit?.stored(new Set(followed.keys()))) ?? [];
    return [...followed].flatMap(([namespace, record]) => {
      const { tasks, tenants } = record.of(namespace);
      const own = logged.filter((one) => one.namespace === namespace);
      return audit === null ? [] : gapsIn(own, [...tasks, ...tenants]);
    });
  };
  const judge = async (): Promise<readonly Violation[]> => {
    // Effects first: whatever claim they need was stored before them.
    const effects = [...store.effects, ...(await effectsOf(recorded, followed))];
    const outputs = await logsIn(recorded.folder);
    const stops = outputs.flatMap(({ text }) => text.match(TOLD_TO_END) ?? []).length;
    const found = [...followed].flatMap(([namespace, record]) =>
      checkAll({ entries: entriesOf({ namespace, record, effects, stops }), ...about(recorded, outputs) }),
    );
    return found.filter(({ id }) => !recorded.breaks.includes(id));
  };
  return {
    follow: (namespace, record) => void followed.set(namespace, record),
    verdict: async () => {
      let last: readonly string[] = [];
      const clean = async (): Promise<boolean> => {
        last = [...(await gaps()), ...violationLines(await judge())];
        return last.length === 0;
      };
      // A watch tells of a version a moment after it was stored.
      await until(clean, { clock: localClock, timeout: PATIENCE, what: "a clean record" }).catch((error: unknown) => {
        if (!(error instanceof PollTimeoutError)) throw error;
      });
      return last;
    },
    [Symbol.asyncDispose]: () => store.close(),
  };
}

const about = (
  { secrets, unfenced }: Recorded,
  outputs: Recording["outputs"],
): Pick<Recording, "secrets" | "unfenced" | "outputs" | "sockets" | "allowed" | "planned" | "exact"> => ({
  secrets,
  unfenced: unfenced.map(({ name }) => name),
  outputs,
  sockets: [],
  allowed: null,
  planned: {},
  exact: false,
});

interface Seen {
  readonly namespace: string;
  readonly record: StandRecord;
  readonly effects: readonly Effect[];
  readonly stops: number;
}

/** Versions in the API server's order; effects among themselves by the clock of this machine, which all of them share. */
function entriesOf({ namespace, record, effects, stops }: Seen): readonly Entry[] {
  const { tasks, tenants } = record.of(namespace);
  const versions = [
    ...tasks.map((version) => taskVersion(version, { order: 0 })),
    ...tenants.map((version) => tenantVersion(version, { order: 0 })),
  ].toSorted((a, b) => a.rv - b.rv);
  const own = effects.filter(({ tenant }) => tenant.startsWith(`${namespace}/`)).toSorted((a, b) => a.at - b.at);
  const stopped = { is: "happening", what: "stopped", order: 0, at: 0, process: "", asked: true } as const;
  const ended = Array.from({ length: stops }, () => stopped);
  return [...versions, ...own, ...ended].map((entry, i) =>
    entry.is === "effect" ? { ...entry, order: i + 1, answered: i + 1 } : { ...entry, order: i + 1 },
  );
}

/** By the receivers' own logs. */
async function effectsOf(
  { receivers, unfenced }: Recorded,
  followed: ReadonlyMap<string, unknown>,
): Promise<readonly Effect[]> {
  const ports = new Set(unfenced.flatMap(({ ports }) => ports));
  const lines = await Promise.all(
    receivers.map(async (receiver) => (await receiver.effects()).map((line) => ({ line, receiver }))),
  );
  return lines.flat().flatMap(({ line, receiver }) => {
    const { tenant, opId, fence, base, digest, verdict, time } = line as Readonly<Record<string, string | undefined>>;
    if (tenant === undefined || !followed.has(tenant.split("/")[0] ?? "") || opId === undefined) return [];
    return [
      {
        is: "effect",
        order: 0,
        at: Date.parse(time ?? ""),
        to: receiver.unit,
        process: null,
        tenant,
        opId,
        fence: fence ?? "",
        base: base ?? "",
        verdict: verdict === "applied" ? "applied" : verdict === "repeated" ? "repeated" : "refused",
        content: digest ?? "",
        answered: null,
        fenced: !ports.has(receiver.port),
      } satisfies Effect,
    ];
  });
}

interface StoreLog {
  readonly effects: readonly Effect[];
  close(): Promise<void>;
}

interface Mutable {
  readonly effect: { -readonly [K in keyof Effect]: Effect[K] };
  readonly script: string;
  readonly data: string;
  readonly record: string;
}

/** Redis tells of every command; what a script did stands behind it. */
async function openStoreLog({ env }: Recorded, followed: ReadonlyMap<string, unknown>): Promise<StoreLog> {
  const [host = "", port = ""] = (env["REDIS_ADDRESS"] ?? "").split(/:(?=\d+$)/);
  const password = (await readFile(env["REDIS_PASSWORD_FILE"] ?? "", "utf8")).trim();
  const socket = connect({ host, port: Number(port) });
  socket.write(Buffer.concat([encodeCommand(["AUTH", password]), encodeCommand(["MONITOR"])]));
  const effects: Effect[] = [];
  let open: Mutable | null = null;
  const note = (line: string): void => {
    const { time, source, args } = monitorLine(line);
    if (source !== "lua") {
      open = begun(time, args);
      const mine = open !== null && followed.has(open.effect.tenant.split("/")[0] ?? "");
      if (open !== null && mine) effects.push(open.effect);
      return;
    }
    if (open !== null) did(open, args);
  };
  const lines = messagesOf(socket);
  await lines.next();
  const { value: ready } = await lines.next();
  if (ready?.value !== "OK") throw new Error("Redis does not let itself be watched");
  const read = async (): Promise<void> => {
    for await (const { value } of lines) if (typeof value === "string") note(value);
  };
  const ended = read();
  return {
    effects,
    close: async () => {
      socket.destroy();
      await ended;
    },
  };
}

/** `1339518083.107412 [0 127.0.0.1:60866] "keys" "*"` */
function monitorLine(line: string): {
  readonly time: number;
  readonly source: string;
  readonly args: readonly string[];
} {
  const [, time = "", source = "", rest = ""] = /^(\S+) \[\d+ ([^\]]+)\] (.*)$/s.exec(line) ?? [];
  const args = [...rest.matchAll(/"((?:[^"\\]|\\.)*)"/gs)].map(([, text = ""]) => unescaped(text));
  return { time: Number(time) * 1000, source, args };
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", a: "\u0007", b: "\b" };
const unescaped = (text: string): string =>
  text.replaceAll(/\\(?:x([0-9a-f]{2})|(.))/gs, (_all, hex: string | undefined, letter: string | undefined) =>
    hex === undefined ? (ESCAPES[letter ?? ""] ?? letter ?? "") : String.fromCharCode(Number.parseInt(hex, 16)),
  );

function begun(time: number, args: readonly string[]): Mutable | null {
  const [name = "", sha = "", keys = "0", data = "", record = ""] = args;
  const script = name.toUpperCase() === "EVALSHA" ? SCRIPTS.get(sha) : undefined;
  if (script === undefined) return null;
  const ask = JSON.parse(args[3 + Number(keys)] ?? "{}") as Readonly<Record<string, unknown>>;
  const { fence, base, tenant, opId, ...rest } = ask;
  const effect = {
    is: "effect" as const,
    order: 0,
    at: time,
    to: `redis ${data}`,
    process: null,
    tenant: String(tenant),
    opId: String(opId),
    fence: String(fence),
    base: String(base),
    verdict: "refused" as Effect["verdict"],
    content: hexDigest(script, JSON.stringify(rest)).slice(0, 12),
    answered: null,
    fenced: true,
  };
  return { effect, script, data, record };
}

/** Accepted is what writes the record; in force is what changes the data, takes the record's place, or tells somebody. */
function did({ effect, script, data, record }: Mutable, [name = "", key = ""]: readonly string[]): void {
  const command = name.toUpperCase();
  const writes = command === "SET" || command === "HSET" || command === "DEL";
  const force =
    (script === "write" && writes && key === data) ||
    (script === "restore" && command === "DEL" && key === record) ||
    (script === "publish" && (command === "PUBLISH" || command === "XADD"));
  if (force) effect.verdict = "applied";
  else if (effect.verdict === "refused" && command === "HSET" && key === record) effect.verdict = "repeated";
}

async function logsIn(folder: string): Promise<Recording["outputs"]> {
  const names = (await readdir(folder)).filter((name) => name.startsWith("operator-") && name.endsWith(".log"));
  return Promise.all(names.map(async (where) => ({ where, text: await readFile(join(folder, where), "utf8") })));
}
