import { createConnection } from "mysql2/promise";
import { describe, expect, inject, test } from "vitest";
import { dbSettings } from "../../src/infra/config/db-settings.ts";
import type { Db } from "../../src/infra/db/db.ts";
import { openDb } from "../../src/infra/db/open-db.ts";
import { sql } from "../../src/infra/db/sql.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { parseHost } from "../../src/lib/address.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { asRoot, type DbRig, dialTo, openDbRig, rootUrl, TABLES, type Tables } from "../support/db-rig.ts";
import { until } from "../support/egress/until.ts";
import { openTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

const never = new AbortController().signal;

/** Connections that the server has for the rig's database. */
async function standing({ settings }: DbRig): Promise<number> {
  const [row] = await asRoot(
    `SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = '${settings.database}'`,
  );
  return Number(row?.n);
}

async function noted(rig: DbRig): Promise<readonly number[]> {
  const rows = await asRoot(`SELECT id FROM ${rig.settings.database}.notes ORDER BY id`);
  return rows.map(({ id }) => id as number);
}

/** A database whose connections pass a proxy, migrated, with nothing in it. */
async function behindProxy(about: Parameters<DbRig["open"]>[0] = {}) {
  await using opening = new AsyncDisposableStack();
  const { hostname, port } = rootUrl();
  const proxy = opening.use(await openTcpProxy({ host: hostname, port: Number(port) }));
  const rig = opening.use(await openDbRig("mysql", proxy));
  const db = await rig.open(about);
  await db.migrate(TABLES);
  const all = opening.move();
  return { proxy, rig, db, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

describe("connections", () => {
  test("never exceed maxOpenConns, follow a change of it, and end beyond maxIdleConns", async () => {
    await using rig = await openDbRig("mysql");
    const db = await rig.open();
    let [most, inside] = [0, 0];
    const atFirst = rig.dialled();
    const crowd = (count: number): Promise<unknown> =>
      Promise.all(
        Array.from({ length: count }, () =>
          db.transaction(async (queries) => {
            most = Math.max(most, (inside += 1));
            await sql`SELECT SLEEP(0.05)`.execute(queries);
            expect(db.pool().open).toBeLessThanOrEqual(db.pool().limit);
            inside -= 1;
          }),
        ),
      );
    await crowd(20);
    expect([most, rig.dialled() - atFirst, await standing(rig)]).toEqual([4, 3, 4]);

    db.reload({ ...rig.settings, maxOpenConns: 7, maxIdleConns: 2 });
    await until(
      () => standing(rig),
      (count) => count === 2,
    );
    most = 0;
    await crowd(20);
    expect([most, db.pool().limit]).toEqual([7, 7]);
    await until(
      () => standing(rig),
      (count) => count === 2,
    );
    expect(db.pool()).toEqual({ limit: 7, open: 2, idle: 2, waiting: 0 });
    await db.close();
    await until(
      () => standing(rig),
      (count) => count === 0,
    );
  });

  test("are replaced at connMaxLifetime and end after connMaxIdleTime", async () => {
    await using rig = await openDbRig("mysql");
    const db = await rig.open({ connMaxLifetime: seconds(1), connMaxIdleTime: seconds(1) });
    const id = async (): Promise<unknown> => (await sql`SELECT CONNECTION_ID() AS id`.execute(db.queries)).rows[0];
    const first = await id();
    expect(await id()).toEqual(first);
    await until(
      () => db.pool().open,
      (open) => open === 0,
    );
    await until(
      () => standing(rig),
      (count) => count === 0,
    );
    expect(await id()).not.toEqual(first);
  });

  test("a closing database lets what is under way end", async () => {
    await using rig = await openDbRig("mysql");
    const db = await rig.open();
    await db.migrate(TABLES);
    const closing: Promise<void>[] = [];
    await db.transaction(async (queries) => {
      closing.push(db.close());
      await sql`SELECT SLEEP(0.1)`.execute(queries);
      await queries.insertInto("notes").values({ id: 1, text: "a" }).execute();
    });
    await Promise.all(closing);
    expect(await noted(rig)).toEqual([1]);
  });
});

describe("transactions that others end", () => {
  test("[mysql/busy] a deadlock is done again, and both sides stand", async () => {
    await using rig = await openDbRig("mysql");
    const db = await rig.open();
    await db.migrate(TABLES);
    await db.queries
      .insertInto("notes")
      .values([1, 2].map((id) => ({ id, text: "" })))
      .execute();
    let runs = 0;
    let arrived = 0;
    const cross = (name: string, order: readonly [number, number]): Promise<void> =>
      db.transaction(async (queries) => {
        runs += 1;
        const add = (id: number) =>
          queries
            .updateTable("notes")
            .set({ text: sql<string>`CONCAT(text, ${name})` })
            .where("id", "=", id)
            .execute();
        await add(order[0]);
        arrived += 1;
        await until(
          () => arrived,
          (count) => count >= 2,
        );
        await add(order[1]);
      });
    await Promise.all([cross("a", [1, 2]), cross("b", [2, 1])]);
    expect(runs).toBe(3);
    const texts = await db.queries.selectFrom("notes").select("text").execute();
    expect(texts.map(({ text }) => text.split("").sort().join(""))).toEqual(["ab", "ab"]);
    expect(rig.lines.some((line) => line.includes("a transaction is done again") && line.includes("Deadlock"))).toBe(
      true,
    );
    expect(await rig.errors()).toEqual({ CONFLICT: 1 });
  });

  test("but only maxRetries times", async () => {
    await using rig = await openDbRig("mysql");
    const db = await rig.open({ maxRetries: 2 });
    let runs = 0;
    const failing = db.transaction(async (queries) => {
      runs += 1;
      await sql`SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213`.execute(queries);
    });
    await expect(failing).rejects.toMatchObject({ type: "CONFLICT", code: "Deadlock", retryable: true });
    expect(runs).toBe(3);
  });

  test("a connection that is lost before the commit was sent: done again on another one, stored once", async () => {
    await using world = await behindProxy();
    const { proxy, rig, db } = world;
    let runs = 0;
    await db.transaction(async (queries) => {
      runs += 1;
      await queries.insertInto("notes").values({ id: runs, text: "a" }).execute();
      if (runs === 1) proxy.cut();
      await sql`SELECT 1`.execute(queries);
    });
    expect([runs, await noted(rig)]).toEqual([2, [2]]);
  });

  test("[mysql/lost] an answer to the commit that is lost is unknown: nothing is done again, and what stands can be read", async () => {
    await using world = await behindProxy({ queryTimeout: millisOf(300) });
    const { proxy, rig, db } = world;
    let runs = 0;
    const lost = db.transaction(async (queries) => {
      runs += 1;
      await queries.insertInto("notes").values({ id: 1, text: "a" }).execute();
      proxy.swallow("toClient");
    });
    await expect(lost).rejects.toMatchObject({ type: "TIMEOUT", code: "CommitUnknown", retryable: false });
    proxy.clear();
    expect([runs, await noted(rig)]).toEqual([1, [1]]);
    expect(await db.queries.selectFrom("notes").select("id").execute()).toEqual([{ id: 1 }]);
  });
});

describe("a write that is late", () => {
  test("[mysql/late] and was repeated meanwhile meets the unique key: one row", async () => {
    await using rig = await openDbRig("mysql");
    const db = await rig.open({ queryTimeout: millisOf(300) });
    await db.migrate(TABLES);
    const { database } = rig.settings;
    const repeat = await createConnection({ uri: rootUrl().href });
    try {
      await repeat.query("BEGIN");
      await repeat.query(`INSERT INTO ${database}.notes (id, text) VALUES (1, 'repeated')`);
      // It waits for the other's lock on the key, and nobody here knows what becomes of it.
      const late = db.queries.insertInto("notes").values({ id: 1, text: "late" }).execute();
      await expect(late).rejects.toMatchObject({ type: "TIMEOUT", code: "QueryTimeout" });
      await repeat.query("COMMIT");
    } finally {
      repeat.destroy();
    }
    await until(
      () => standing(rig),
      (count) => count === 0,
    );
    expect(await asRoot(`SELECT id, text FROM ${database}.notes`)).toEqual([{ id: 1, text: "repeated" }]);
    const again = db.queries.insertInto("notes").values({ id: 1, text: "late" }).execute();
    await expect(again).rejects.toMatchObject({ type: "CONFLICT", code: "Duplicate" });
  });
});

describe("a server in trouble", () => {
  const refused = (proxy: TcpProxy): void => {
    proxy.refuse();
    proxy.cut();
  };

  test("[mysql/down] is told at once, and is used again as soon as it is back", async () => {
    await using world = await behindProxy();
    const { proxy, rig, db } = world;
    refused(proxy);
    await expect(db.ping()).rejects.toMatchObject({ type: "CONNECTION" });
    await expect(db.ping()).rejects.toMatchObject({ type: "CONNECTION", code: "ConnectFailed", retryable: true });
    expect(await db.check(never)).toMatchObject({
      status: "unhealthy",
      message: expect.stringContaining("no connection"),
    });
    proxy.clear();
    expect(await db.check(never)).toMatchObject({ status: "healthy" });
    expect((await rig.errors()).CONNECTION).toBeGreaterThanOrEqual(3);
    expect(db.pool().waiting).toBe(0);
  });

  test("[mysql/silent] a statement without an answer ends at queryTimeout and takes its connection with it", async () => {
    await using world = await behindProxy({ queryTimeout: millisOf(200) });
    const { proxy, db } = world;
    proxy.hold("toServer", "toClient");
    await expect(db.ping()).rejects.toMatchObject({ type: "TIMEOUT", code: "QueryTimeout" });
    expect(db.pool()).toMatchObject({ open: 0, idle: 0 });
    proxy.clear();
    expect(await db.ping()).toBeGreaterThanOrEqual(0);
  });

  test("[mysql/silent] a server that does not greet ends the connecting at dialTimeout", async () => {
    await using world = await behindProxy({ dialTimeout: millisOf(200) });
    const { proxy, db } = world;
    proxy.cut();
    proxy.hold("toServer", "toClient");
    await expect(
      until(
        () => db.ping(),
        () => false,
      ),
    ).rejects.toMatchObject({ type: "CONNECTION" });
    await expect(db.ping()).rejects.toMatchObject({ type: "CONNECTION", code: "ConnectFailed" });
    proxy.clear();
    expect(await db.ping()).toBeGreaterThanOrEqual(0);
  });

  test("[mysql/reborn] connections that ended with it are replaced without an error", async () => {
    await using world = await behindProxy();
    const { proxy, rig, db } = world;
    const before = rig.dialled();
    proxy.cut();
    await until(
      () => proxy.open,
      (open) => open === 0,
    );
    await until(
      () => standing(rig),
      (count) => count === 0,
    );
    expect(await db.ping()).toBeGreaterThanOrEqual(0);
    expect(rig.dialled()).toBe(before + 1);
  });

  test("[mysql/busy] no more connections for this user: retryable, and told as such", async () => {
    await using rig = await openDbRig("mysql");
    const user = `few_${process.pid}`;
    await asRoot(
      `CREATE USER '${user}'@'%' IDENTIFIED BY 'x' WITH MAX_USER_CONNECTIONS 1; CREATE DATABASE IF NOT EXISTS ${rig.settings.database}; GRANT ALL ON ${rig.settings.database}.* TO '${user}'@'%'`,
    );
    try {
      const db = await rig.open({ username: user }, { secret: () => Promise.resolve("x") });
      await db.transaction(async () => {
        await expect(db.ping()).rejects.toMatchObject({
          type: "UNAVAILABLE",
          code: "TooManyConnections",
          retryable: true,
        });
      });
    } finally {
      await asRoot(`DROP USER '${user}'@'%'`);
    }
  });
});

describe("what a person has to mend is said at the start", () => {
  const open = (
    about: Partial<ReturnType<typeof dbSettings.parse>>,
    secret: string,
    tls = false,
  ): Promise<Db<Tables>> => {
    const { hostname, port } = rootUrl();
    const identity = parseHost(hostname);
    if (identity === null) throw new Error("no host");
    const material = { identity, ca: null, cert: null, key: null, alpn: [] };
    const settings = {
      ...dbSettings.parse({ addr: `${hostname}:${port}`, password: { env: "TURNOUT_SECRET_DB" } }),
      ...about,
    };
    return openDb<Tables>(settings, {
      clock: systemClock,
      rng: systemRng,
      dial: dialTo,
      secret: () => Promise.resolve(secret),
      tls: tls ? material : null,
    });
  };
  const passwordOf = (name: string): string => new URL(inject("env")[`MYSQL_${name}_URL`] ?? "").password;

  test("[mysql/denied] a wrong password: terminal, with the address, without the password", async () => {
    const failing = open({ username: "im_dev", database: "im_dev" }, "guessed-7f3a");
    await expect(failing).rejects.toMatchObject({ type: "CONFIG", code: "AuthRefused", retryable: false });
    await expect(failing).rejects.not.toThrow(/guessed-7f3a/);
  });

  test("[mysql/denied] the user of one environment cannot read another's database, nor make one", async () => {
    const db = await open({ username: "im_dev", database: "im_dev" }, passwordOf("DEV"));
    try {
      const prying = sql`SELECT * FROM im_prod.users`.execute(db.queries);
      await expect(prying).rejects.toMatchObject({ type: "CONFIG", code: "PermissionDenied" });
    } finally {
      await db.close();
    }
    const other = open({ username: "im_dev", database: "im_prod" }, passwordOf("DEV"));
    await expect(other).rejects.toMatchObject({ type: "CONFIG", code: "PermissionDenied" });
    const absent = open({ username: "im_dev", database: `im_absent_${process.pid}` }, passwordOf("DEV"));
    await expect(absent).rejects.toMatchObject({
      type: "CONFIG",
      code: expect.stringMatching(/^(?:PermissionDenied|DatabaseAbsent)$/),
    });
  });

  test("TLS that is asked for is never left out", async () => {
    const failing = open({ username: "im_dev", database: "im_dev" }, passwordOf("DEV"), true);
    await expect(failing).rejects.toMatchObject({ type: "CONFIG", code: "TlsFailed" });
  });

  test("a whole DSN outranks the fields, and a bad one is named without a piece of it", async () => {
    const dsn = { env: "TURNOUT_SECRET_DSN" };
    const db = await open({ dsn, addr: "127.0.0.1:1" }, inject("env").MYSQL_TEST_URL ?? "");
    const { rows } = await sql`SELECT DATABASE() AS d`.execute(db.queries);
    await db.close();
    expect(rows).toEqual([{ d: "im_test" }]);
    for (const bad of ["mysql://user:hunter2@host", "postgres://u:hunter2@h/d", "hunter2", "mysql://u:%zz@h/d"]) {
      const failing = open({ dsn }, bad);
      await expect(failing).rejects.toMatchObject({ type: "CONFIG", code: "BadDsn" });
      await expect(failing).rejects.not.toThrow(/hunter2|%zz/);
    }
  });
});
