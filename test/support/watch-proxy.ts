import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openLineCutter } from "../../src/lib/line-cutter.ts";
import { type Asked, type Fault, type HttpProxy, type Match, openHttpProxy } from "./http-proxy.ts";

/** A proxy before the real API server, with the kubeconfig of the operator that is to go through it. */
export interface WatchProxy extends HttpProxy {
  readonly kubeconfig: string;
}

interface Kubeconfig {
  readonly clusters: readonly { readonly cluster: Readonly<Record<string, string>> }[];
}

export async function openWatchProxy(kubeconfig: string, folder: string): Promise<WatchProxy> {
  const config = JSON.parse(await readFile(kubeconfig, "utf8")) as Kubeconfig;
  const cluster = config.clusters[0]?.cluster ?? {};
  const ca = Buffer.from(cluster["certificate-authority-data"] ?? "", "base64").toString("utf8");
  const proxy = await openHttpProxy({ origin: cluster["server"] ?? "", ca });
  const file = join(folder, `proxied-${proxy.port}.kubeconfig`);
  const through = {
    server: `https://127.0.0.1:${proxy.port}`,
    "certificate-authority-data": Buffer.from(proxy.ca).toString("base64"),
  };
  await writeFile(file, JSON.stringify({ ...config, clusters: [{ ...config.clusters[0], cluster: through }] }), {
    mode: 0o600,
  });
  return Object.assign(proxy, { kubeconfig: file });
}

const queryOf = ({ path }: Asked): URLSearchParams => new URL(path, "http://x").searchParams;
const RESOURCE = /^\/apis\/[^/]+\/[^/]+(?:\/namespaces\/[^/]+)?\/([a-z]+)(?:\/([^/?]+))?(\/status)?(?:\?|$)/;
const parts = ({ path }: Asked): { plural: string; name: string | null; status: boolean } => {
  const [, plural = "", name, status] = RESOURCE.exec(path) ?? [];
  return { plural, name: name ?? null, status: status !== undefined };
};

/** Watches of a kind; a streaming list is one. */
export const watches =
  (plural: string): Match =>
  (asked) =>
    asked.method === "GET" && queryOf(asked).get("watch") === "true" && parts(asked).plural === plural;
/** Lists of a kind that come in pages. */
export const lists =
  (plural: string): Match =>
  (asked) => {
    const { plural: found, name } = parts(asked);
    return asked.method === "GET" && found === plural && name === null && queryOf(asked).get("watch") !== "true";
  };
export const streamingLists: Match = (asked) => queryOf(asked).get("sendInitialEvents") === "true";
export const continued: Match = (asked) => asked.method === "GET" && queryOf(asked).has("continue");
export const reads =
  (plural: string): Match =>
  (asked) =>
    asked.method === "GET" && parts(asked).plural === plural;
/** Everything that changes something but Events and leases. */
export const writes: Match = (asked) =>
  asked.method !== "GET" && ["switchtasks", "tenantstates"].includes(parts(asked).plural);
/** Writes of a task's status. */
export const statusWrites: Match = (asked) =>
  asked.method === "PUT" && parts(asked).status && parts(asked).plural === "switchtasks";
/** The write of a status that claims the stage: it is open in it, and nothing is settled. */
export const claims =
  (stage: string): Match =>
  (asked) =>
    statusWrites(asked) &&
    new RegExp(`"name":"${stage}"[^{}]*"state":"(?:Running|RollingBack)"`).test(asked.body.toString("utf8"));

/** Lines of a watch → the lines, or bytes, that are sent instead. Ends the answer where it ends, resets it where it throws. */
export type Spoil = (lines: AsyncIterable<Buffer>) => AsyncIterable<Buffer>;

/** Every watch that meets it is spoilt. */
export const spoilt =
  (spoil: Spoil): Fault =>
  async ({ stream, response, cut }) => {
    const answer = await stream();
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    response.flushHeaders();
    response.on("close", () => answer.destroy());
    answer.on("error", () => undefined);
    try {
      for await (const bytes of spoil(linesOf(answer))) {
        if (response.destroyed) return;
        response.write(bytes);
      }
      response.end();
    } catch {
      // What was written before must arrive before the connection is reset.
      setTimeout(cut, 20);
    }
  };

async function* linesOf(answer: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const cutter = openLineCutter(8 * 1024 * 1024);
  for await (const chunk of answer) {
    for (const line of cutter.push(chunk)) yield Buffer.concat([line, Buffer.from("\n")]);
  }
}

const isA = (line: Buffer, ...types: readonly string[]): boolean =>
  types.some((type) => line.subarray(0, 40).includes(`"type":"${type}"`));
const isInitialEnd = (line: Buffer): boolean => line.includes('"k8s.io/initial-events-end"');

/** Holds from the end of the first list on, where there is one. */
const afterTheList = (spoil: Spoil, from: (line: Buffer) => boolean = isInitialEnd): Spoil =>
  async function* (lines) {
    const all = lines[Symbol.asyncIterator]();
    for (;;) {
      const { value, done } = await all.next();
      if (done === true) return;
      yield value;
      if (from(value)) break;
    }
    yield* spoil({ [Symbol.asyncIterator]: () => all });
  };

const each = (change: (line: Buffer, n: number) => readonly Buffer[]): Spoil =>
  async function* (lines) {
    let n = 0;
    for await (const line of lines) yield* change(line, (n += 1));
  };

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** No change is told; bookmarks are. */
export const swallow = afterTheList(each((line) => (isA(line, "BOOKMARK") ? [line] : [])));
export const double = each((line) => [line, line]);
export const delay = (milliseconds: number): Spoil =>
  async function* (lines) {
    for await (const line of lines) {
      await pause(milliseconds);
      yield line;
    }
  };
/** Two neighbours change places; who has none within the time goes alone. */
export const reorder = (milliseconds: number): Spoil =>
  afterTheList(async function* (lines) {
    const all = lines[Symbol.asyncIterator]();
    let next = all.next();
    for (;;) {
      const first = await next;
      if (first.done === true) return;
      next = all.next();
      const second = await Promise.race([next, pause(milliseconds).then(() => null)]);
      if (second !== null && second.done !== true) {
        yield second.value;
        next = all.next();
      }
      yield first.value;
    }
  });
/** The connection is reset in the middle of the n-th line. */
export const cutMidLine = (at: number): Spoil =>
  afterTheList(async function* (lines) {
    let n = 0;
    for await (const line of lines) {
      n += 1;
      if (n < at) yield line;
      else {
        yield line.subarray(0, Math.floor(line.length / 2));
        throw new Error("cut");
      }
    }
  });
/** Bytes that are no line of a watch stand where a change should. */
export const garbage = (bytes: string): Spoil =>
  afterTheList(each((line, n) => (n === 1 ? [Buffer.from(`${bytes}\n`)] : [line])));
/** Connected, and nothing flows. */
export const silence: Spoil = afterTheList(async function* (lines) {
  for await (const _line of lines) yield* [];
});
export const noBookmarks = each((line) => (isA(line, "BOOKMARK") && !isInitialEnd(line) ? [] : [line]));
/** The server streams, and never says that the first objects are all. */
export const noInitialEnd = each((line) => (isInitialEnd(line) ? [] : [line]));
/** `410 Gone` as an event, in a stream that is otherwise in order. */
export const goneEvent: Spoil = afterTheList(async function* (lines) {
  for await (const _line of lines) {
    yield Buffer.from(
      `${JSON.stringify({ type: "ERROR", object: { kind: "Status", status: "Failure", code: 410, reason: "Expired" } })}\n`,
    );
    return;
  }
});
/** Everything of `old` is told again, in between and under its old versions. */
export const replaying = (old: readonly Buffer[]): Spoil =>
  async function* (lines) {
    for await (const line of lines) {
      yield line;
      if (!isA(line, "BOOKMARK")) yield* old;
    }
  };
/** Keeps what passes. */
export const recording = (kept: Buffer[]): Spoil =>
  each((line) => {
    if (isA(line, "ADDED", "MODIFIED")) kept.push(line);
    return [line];
  });
