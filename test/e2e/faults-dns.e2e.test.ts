import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { at } from "../../src/lib/json-pointer.ts";
import { create } from "../support/fault-walk.ts";
import type { Answers } from "../support/operator-seams.ts";
import { openTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { effectsAt, textAt } from "../support/stand-read.ts";
import { aSwitch, type Document, openTestStand, SOAK, type Space, type TestStand } from "../support/stand.ts";

// The operator asks a resolver that a test answers for.

const NAMES = ["fails", "slow", "rebinds", "moves"] as const;
type Name = (typeof NAMES)[number];
const TELL = (name: Name, as = "tell"): unknown => ({ name: as, http: { endpoint: name } });

let stand: TestStand;
/** Where all names lead, at first: green, by a way that can be cut, since a connection that was checked is used again. */
let way: TcpProxy;
let port: number;
beforeAll(async () => {
  stand = await openTestStand(inject("env"), { spaces: NAMES.length });
  way = await openTcpProxy({ host: "127.0.0.1", port: stand.green.port });
  ({ port } = way);
  const settings = JSON.parse(await readFile(stand.settings, "utf8")) as Settings;
  const [gateway] = settings.endpoints;
  const named = NAMES.map((name) => ({
    ...gateway,
    name,
    addresses: [`${name}.test:${port}`],
    cidrs: ["127.0.0.0/30"],
    ports: [port],
  }));
  const retry = { maxAttempts: 20, backoff: { initial: "100ms", factor: 2, max: "300ms" } };
  const defaults = { ...settings.operator.defaults, retry };
  const ceiling = { ...settings.operator.ceiling, ports: [...settings.operator.ceiling.ports, port] };
  const changed = {
    operator: { ...settings.operator, defaults, ceiling },
    endpoints: [...settings.endpoints, ...named],
  };
  await writeFile(stand.settings, JSON.stringify(changed));
});
afterAll(async () => {
  await stand[Symbol.asyncDispose]();
  await way[Symbol.asyncDispose]();
});

interface Settings {
  readonly operator: {
    readonly defaults: Readonly<Record<string, unknown>>;
    readonly ceiling: { readonly ports: readonly number[] };
  };
  readonly endpoints: readonly Readonly<Record<string, unknown>>[];
}

interface Resolved extends Space {
  readonly sockets: string;
  answer(answers: Answers): Promise<void>;
  begin(stages: readonly unknown[]): Promise<void>;
  effects(): Promise<number>;
}

async function open(name: Name, first: Answers): Promise<Resolved> {
  const space = await stand.space();
  const names = join(stand.folder, `names-${name}.json`);
  const sockets = join(stand.folder, `sockets-${name}`);
  const answer = (answers: Answers): Promise<void> => writeFile(names, JSON.stringify({ [`${name}.test`]: answers }));
  await answer(first);
  await space.operator({ env: { TURNOUT_TEST_RESOLVE: names, TURNOUT_TEST_SOCKETS: sockets } });
  return {
    ...space,
    sockets,
    answer,
    begin: (stages) => create(space, aSwitch({ ...stand, namespace: space.namespace }, { stages })),
    effects: async () => (await effectsAt([stand.green], `${space.namespace}/acme`)).length,
  };
}

const failedTwice =
  (code: string) =>
  (task: Document): boolean =>
    Number(textAt(task, "/status/stages/0/attempts")) >= 2 && textAt(task, "/status/stages/0/failures/0/code") === code;

describe("DNS", () => {
  test("[DNS/fails] a name that does not resolve is tried again; nothing was sent, and it goes on once it does", async ({
    expect,
  }) => {
    const space = await open("fails", "fails");
    await space.begin([TELL("fails")]);
    await space.until("acme-green", "to fail twice", failedTwice("DnsFailed"));
    expect(await space.effects()).toBe(0);
    await space.answer(["127.0.0.1"]);
    await space.over("acme-green", "Completed");
    expect(await space.effects()).toBe(1);
  });

  test("[DNS/slow] a resolver that never answers ends inside the attempt's time, as a retry that sent nothing", async ({
    expect,
  }) => {
    const space = await open("slow", "silent");
    await space.begin([TELL("slow")]);
    const task = await space.until(
      "acme-green",
      "to try twice",
      (seen) => Number(textAt(seen, "/status/stages/0/attempts")) >= 2,
    );
    expect(textAt(task, "/status/stages/0/outcome")).not.toBe("Unknown");
    expect(await space.effects()).toBe(0);
    await space.answer(["127.0.0.1"]);
    await space.over("acme-green", "Completed");
    expect(await space.effects()).toBe(1);
  });

  test("[DNS/rebinds] [S16] a name that points elsewhere by the second stage is refused before a socket, without its address", async ({
    expect,
  }) => {
    const space = await open("rebinds", ["127.0.0.1"]);
    await space.begin([TELL("rebinds", "first"), SOAK("1s"), TELL("rebinds", "second")]);
    await space.waits("acme-green", "Waiting");
    await space.answer(["127.0.0.1", "169.254.169.254"]);
    way.cut();
    const task = await space.phase("acme-green", "Failed");
    expect(at(task, "/status/failure/code")).toBe("EgressDenied");
    expect(JSON.stringify(task["status"])).not.toContain("169.254");
    expect(await space.effects()).toBe(1);
    const opened = (await readFile(space.sockets, "utf8")).trim().split("\n");
    expect(new Set(opened.map((line) => (JSON.parse(line) as { readonly ip: string }).ip))).toEqual(
      new Set(["127.0.0.1"]),
    );
  });

  test("[DNS/moves] the instances of the stage's start hold: a name that moves is asked where it is now, as the same instance", async ({
    expect,
  }) => {
    const space = await open("moves", ["127.0.0.1"]);
    await stand.green.tell({ mode: "refuse", status: 503, tenant: `${space.namespace}/acme` });
    await using moved = createServer((from) => {
      const to = connect({ host: "127.0.0.1", port: stand.green.port });
      for (const socket of [from, to]) socket.on("error", () => undefined);
      from.pipe(to).pipe(from);
    }).listen(port, "127.0.0.2");
    await once(moved, "listening");
    await space.begin([TELL("moves")]);
    await space.until("acme-green", "to be refused", failedTwice("ReceiverBusy"));
    await space.answer(["127.0.0.2"]);
    way.cut();
    await stand.green.tell({ mode: "ok", tenant: `${space.namespace}/acme` });
    await space.over("acme-green", "Completed");
    const tables = space
      .versions("acme-green")
      .map((version) => JSON.stringify(at(version, "/status/instances") ?? []));
    expect([...new Set(tables.filter((table) => table !== "[]"))]).toEqual([
      JSON.stringify([`moves|moves.test:${port}`]),
    ]);
    expect(await readFile(space.sockets, "utf8")).toContain('"ip":"127.0.0.2"');
  });
});
