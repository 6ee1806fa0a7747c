import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Admin, Consumer, MessagesStreamFallbackModes, MessagesStreamModes, Producer } from "@platformatic/kafka";
import { type Connection, createConnection, type RowDataPacket } from "mysql2/promise";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { localClock } from "../../deployment/local/clock.ts";
import { type Environment, openEnvironment } from "../../deployment/local/environment.ts";
import { EXTRAS } from "../../deployment/local/extras.ts";
import { listeners, socketsOf } from "../../deployment/local/listeners.ts";
import { until } from "../../deployment/local/poll.ts";
import { answersMysql } from "../../deployment/local/probe.ts";
import { seconds } from "../../src/lib/time.ts";

const silent = (): void => undefined;
let environment: Environment;
beforeAll(async () => {
  environment = await openEnvironment({ with: EXTRAS, controlPlane: false, print: silent });
});
afterAll(() => environment.close());

const variable = (name: string, { env }: Pick<Environment, "env"> = environment): string => env[name] ?? "";

/** etcd's JSON gateway: keys and values in base64. */
const base64 = (text: string): string => Buffer.from(text).toString("base64");
async function etcd(
  url: string,
  path: string,
  body: unknown,
): Promise<{ readonly kvs?: readonly { value: string }[] }> {
  const response = await fetch(`${url}/v3/kv/${path}`, { method: "POST", body: JSON.stringify(body) });
  expect(response.status).toBe(200);
  return (await response.json()) as { readonly kvs?: readonly { value: string }[] };
}

async function sql<T>(url: string, work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await createConnection({ uri: url, connectTimeout: 5000 });
  try {
    return await work(connection);
  } finally {
    connection.destroy();
  }
}
const rows = (url: string, text: string): Promise<RowDataPacket[]> =>
  sql(url, async (connection) => (await connection.query<RowDataPacket[]>(text))[0]);

const client = (brokers: string) => ({ clientId: "local", bootstrapBrokers: brokers.split(","), retries: 10 });

async function createTopic(brokers: string, topic: string): Promise<void> {
  const admin = new Admin(client(brokers));
  await admin.createTopics({ topics: [topic], partitions: 1, replicas: 1 });
  await admin.close();
}
async function produce(brokers: string, topic: string, value: string): Promise<void> {
  const producer = new Producer({
    ...client(brokers),
    serializers: { value: (text?: string) => Buffer.from(text ?? "") },
  });
  await producer.send({ messages: [{ topic, value }], acks: -1 });
  await producer.close();
}
/** Everything that stands in the topic, from the first record on. */
async function consumed(brokers: string, topic: string, count: number): Promise<readonly string[]> {
  const consumer = new Consumer({ ...client(brokers), groupId: `read-${performance.now()}` });
  const stream = await consumer.consume({
    topics: [topic],
    autocommit: false,
    mode: MessagesStreamModes.EARLIEST,
    fallbackMode: MessagesStreamFallbackModes.EARLIEST,
  });
  const values: string[] = [];
  for await (const { value } of stream) {
    values.push(String(value));
    if (values.length === count) break;
  }
  await consumer.close(true);
  return values;
}

async function scraped(url: string, query: string): Promise<readonly string[]> {
  const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(query)}`);
  const { data } = (await response.json()) as { data: { result: readonly { value: readonly [number, string] }[] } };
  return data.result.map(({ value }) => value[1]);
}

describe("the servers beside the control plane", () => {
  test("[SEC-50] listen on loopback only", async () => {
    const all = await listeners();
    const seen = await Promise.all(
      environment.servers.map(async ({ name, address, pid }) => {
        const sockets = await socketsOf(pid ?? 0);
        const open = all.filter(({ inode }) => sockets.has(inode));
        const isHere = open.some((one) => `${one.address}:${one.port}` === address);
        return { name, isHere, addresses: [...new Set(open.map((one) => one.address))] };
      }),
    );
    expect(seen).toEqual(
      ["redis", "etcd-centre", "mariadb", "kafka", "prometheus"].map((name) => ({
        name,
        isHere: true,
        addresses: ["127.0.0.1"],
      })),
    );
  });

  test("[SEC-50] MariaDB: each environment has a user who sees its own database and no other, and nobody enters without a password", async () => {
    expect(await rows(variable("MYSQL_URL"), "SELECT VERSION() AS v")).toEqual([
      { v: expect.stringMatching(/MariaDB/) },
    ]);
    for (const name of ["DEV", "TEST", "PROD"]) {
      const own = `im_${name.toLowerCase()}`;
      await sql(variable(`MYSQL_${name}_URL`), async (connection) => {
        await connection.query("CREATE TABLE who (name VARCHAR(8) PRIMARY KEY)");
        await connection.query("INSERT INTO who VALUES (?)", [name]);
        const [databases] = await connection.query<RowDataPacket[]>("SHOW DATABASES");
        expect(databases.map((row) => row.Database as string)).toEqual([own, "information_schema"]);
      });
    }
    const prying = rows(variable("MYSQL_DEV_URL"), "SELECT * FROM im_prod.who");
    await expect(prying).rejects.toMatchObject({ code: "ER_TABLEACCESS_DENIED_ERROR" });
    for (const user of ["root", "im_dev", "nobody", ""]) {
      const entering = rows(`mysql://${user}@${environment.server("mariadb").address}/`, "SELECT 1");
      await expect(entering).rejects.toMatchObject({ code: "ER_ACCESS_DENIED_ERROR" });
    }
  });

  test("Prometheus scrapes what the targets file names, without a restart, and reloads its configuration when it is told", async () => {
    const target = createServer((_request, response) => void response.end("turnout_answer 42\n"));
    await new Promise<void>((listening) => target.listen(0, "127.0.0.1", listening));
    try {
      const { port } = target.address() as AddressInfo;
      await writeFile(variable("PROMETHEUS_TARGETS"), JSON.stringify([{ targets: [`127.0.0.1:${port}`] }]));
      const answer = async (): Promise<boolean> =>
        (await scraped(variable("PROMETHEUS_URL"), "turnout_answer")).join() === "42";
      expect(await until(answer, { clock: localClock, timeout: seconds(20), what: "a scrape" })).toBe(true);
      const reload = await fetch(`${variable("PROMETHEUS_URL")}/-/reload`, { method: "POST" });
      expect(reload.status).toBe(200);
    } finally {
      target.closeAllConnections();
      target.close();
    }
  });

  test("come back with their data after SIGKILL, under the same address, and hold still while they are stopped with SIGSTOP", async () => {
    const [centre, brokers, root] = [variable("COORD_ENDPOINTS"), variable("KAFKA_BROKERS"), variable("MYSQL_URL")];
    await etcd(centre, "put", { key: base64("/config/a"), value: base64("1") });
    await createTopic(brokers, "kept");
    await produce(brokers, "kept", "one");
    await sql(root, async (connection) => {
      await connection.query("CREATE DATABASE kept");
      await connection.query("CREATE TABLE kept.t (n INT)");
      await connection.query("INSERT INTO kept.t VALUES (7)");
    });
    for (const name of ["etcd-centre", "kafka", "mariadb"] as const) {
      const server = environment.server(name);
      const { address, pid } = server;
      await server.stop("SIGKILL");
      expect(server.pid).toBeNull();
      await server.start();
      expect([server.address, server.pid === pid]).toEqual([address, false]);
    }
    const { kvs = [] } = await etcd(centre, "range", { key: base64("/config/a") });
    expect(kvs.map(({ value }) => value)).toEqual([base64("1")]);
    await produce(brokers, "kept", "two");
    expect(await consumed(brokers, "kept", 2)).toEqual(["one", "two"]);
    expect(await rows(root, "SELECT n FROM kept.t")).toEqual([{ n: 7 }]);

    const { pid, address } = environment.server("mariadb");
    const [host = "", port = ""] = address.split(":");
    process.kill(pid ?? 0, "SIGSTOP");
    try {
      expect(await answersMysql({ host, port: Number(port) })).toBe(false);
    } finally {
      process.kill(pid ?? 0, "SIGCONT");
    }
    expect(await rows(root, "SELECT n FROM kept.t")).toEqual([{ n: 7 }]);
  });
});

describe("a kept state folder", () => {
  test("starts again on other ports with its data and with new passwords", async () => {
    const folder = await mkdtemp(join(tmpdir(), "turnout-extras-"));
    const options = {
      with: ["mariadb", "kafka"],
      controlPlane: false,
      stateDir: join(folder, "state"),
      print: silent,
    } as const;
    try {
      const first = await openEnvironment(options);
      await createTopic(variable("KAFKA_BROKERS", first), "kept");
      await produce(variable("KAFKA_BROKERS", first), "kept", "one");
      await sql(variable("MYSQL_DEV_URL", first), (connection) =>
        connection.query("CREATE TABLE kept AS SELECT 7 AS n"),
      );
      await first.close();
      await expect(stat(join(folder, "state", "mariadb.sock"))).rejects.toThrow(/ENOENT/);

      await using again = await openEnvironment(options);
      expect(variable("KAFKA_BROKERS", again)).not.toBe(variable("KAFKA_BROKERS", first));
      expect(await consumed(variable("KAFKA_BROKERS", again), "kept", 1)).toEqual(["one"]);
      expect(await rows(variable("MYSQL_DEV_URL", again), "SELECT n FROM kept")).toEqual([{ n: 7 }]);
      const stale = new URL(variable("MYSQL_DEV_URL", first));
      stale.host = new URL(variable("MYSQL_DEV_URL", again)).host;
      await expect(rows(stale.href, "SELECT 1")).rejects.toMatchObject({ code: "ER_ACCESS_DENIED_ERROR" });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("servers that run already are used when a variable names them", () => {
  const NAMED = [
    ["etcd", "TURNOUT_LOCAL_COORD_ENDPOINTS", "COORD_ENDPOINTS"],
    ["kafka", "TURNOUT_LOCAL_KAFKA_BROKERS", "KAFKA_BROKERS"],
    ["prometheus", "TURNOUT_LOCAL_PROMETHEUS_URL", "PROMETHEUS_URL"],
    ["mariadb", "TURNOUT_LOCAL_MYSQL_URL", "MYSQL_URL"],
  ] as const;
  test("no server is lost", () => expect(NAMED).toHaveLength(EXTRAS.length - 1));

  test.each(NAMED)("%s: %s", async (name, names, given) => {
    const before = process.env[names];
    try {
      process.env[names] = variable(given);
      await using other = await openEnvironment({ with: [name], controlPlane: false, print: silent });
      expect([other.servers, variable(given, other)]).toEqual([[], variable(given)]);
      process.env[names] = NOBODY[name];
      await expect(openEnvironment({ with: [name], controlPlane: false, print: silent })).rejects.toThrow(
        /names \S*127\.0\.0\.1:1\b.*does not answer to what the variable says/,
      );
    } finally {
      if (before === undefined) delete process.env[names];
      else process.env[names] = before;
    }
  });

  /** Port 1 of this machine: nobody listens there. */
  const NOBODY: Readonly<Record<(typeof NAMED)[number][0], string>> = {
    etcd: "http://127.0.0.1:1",
    kafka: "127.0.0.1:1",
    prometheus: "http://127.0.0.1:1",
    mariadb: "mysql://root:x@127.0.0.1:1/",
  };

  test("MariaDB's users are made there", async () => {
    process.env.TURNOUT_LOCAL_MYSQL_URL = variable("MYSQL_URL");
    try {
      await using other = await openEnvironment({ with: ["mariadb"], controlPlane: false, print: silent });
      expect(await rows(variable("MYSQL_PROD_URL", other), "SELECT DATABASE() AS d")).toEqual([{ d: "im_prod" }]);
    } finally {
      delete process.env.TURNOUT_LOCAL_MYSQL_URL;
    }
  });
});
