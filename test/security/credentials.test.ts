import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { openSecrets, type Secrets } from "../../src/infra/egress/secrets.ts";
import { seconds } from "../../src/lib/time.ts";
import { aCanary, findCanaries } from "../support/canary.ts";
import { always, answer } from "../support/egress/answers.ts";
import { aCall, httpEndpoint, never, openRig, redisEndpoint } from "../support/egress/rig.ts";
import { openTrap } from "../support/egress/trap.ts";
import { ManualClock } from "../support/manual-clock.ts";

const ENV = {
  TURNOUT_SECRET_A: "token-a",
  TURNOUT_SECRET_B: "token-b",
  HOME: "/root",
  TURNOUT_SECRET_BAD: "a\r\nHost: evil",
};
const allow = { methods: ["GET"], paths: ["/state"] } as never;
const bearer = (env: string): { readonly bearer: { readonly env: string } } => ({ bearer: { env } });

interface Folder extends AsyncDisposable {
  readonly path: string;
  put(name: string, text: string | Buffer): Promise<string>;
}
async function aFolder(): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), "turnout-secrets-"));
  return {
    path,
    put: async (name, text) => {
      const file = join(path, name);
      await mkdir(join(file, ".."), { recursive: true });
      await writeFile(`${file}.new`, text);
      await rename(`${file}.new`, file);
      return file;
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  };
}

describe("[SEC-28] a credential goes to its own endpoint only", () => {
  test("each endpoint of one address gets its own, an endpoint without one gets none", async () => {
    await using server = await openTrap({ serve: always(answer(200)) });
    const about = { ports: [server.port], allow } as const;
    await using rig = openRig({
      endpoints: [
        httpEndpoint({ ...about, name: "a", credentials: bearer("TURNOUT_SECRET_A") }),
        httpEndpoint({ ...about, name: "b", credentials: bearer("TURNOUT_SECRET_B") }),
        httpEndpoint({ ...about, name: "none" }),
      ],
      env: ENV,
    });
    for (const endpoint of ["a", "b", "none", "a"])
      await rig.http.send(aCall({ address: server.address, endpoint }), never);
    const sent = server.text.split("\r\n\r\n").filter((request) => request !== "");
    expect(sent.map((request) => /^authorization: (.*)$/m.exec(request)?.[1]?.trim() ?? null)).toEqual([
      "Bearer token-a",
      "Bearer token-b",
      null,
      "Bearer token-a",
    ]);
    expect(server.connections).toBe(3);
  });

  test.each([
    ["that is not set", "TURNOUT_SECRET_NONE", "not set"],
    ["of another name", "HOME", "not set"],
    ["that would become a header of its own", "TURNOUT_SECRET_BAD", "not plain text"],
  ])("a variable %s: nothing is sent", async (_title, env, reason) => {
    await using server = await openTrap({ serve: always(answer(200)) });
    await using rig = openRig({
      endpoints: [httpEndpoint({ ports: [server.port], allow, credentials: bearer(env) })],
      env: ENV,
    });
    const result = await rig.http.send(aCall({ address: server.address }), never);
    expect(result).toMatchObject({ kind: "notSent", fault: { code: "SecretUnreadable" } });
    expect("fault" in result ? result.fault.message : "").toBe(
      `a credential of endpoint gateway cannot be read (${reason})`,
    );
    expect(server.connections).toBe(0);
  });

  test("[SEC-29] a changed file is used within 60 s, on a connection of its own", async () => {
    await using folder = await aFolder();
    const file = await folder.put("token", "first\n");
    const clock = new ManualClock();
    await using server = await openTrap({ serve: always(answer(200)) });
    await using rig = openRig({
      endpoints: [httpEndpoint({ ports: [server.port], allow, credentials: { bearer: { file } } })],
      secretRoots: [folder.path],
      clock,
    });
    const send = (): Promise<unknown> =>
      rig.http.send(aCall({ address: server.address, timeout: seconds(600) }), never);
    await send();
    await folder.put("token", "second\n");
    await send();
    expect(server.connections).toBe(1);
    await clock.advance(seconds(59));
    await send();
    const tokens = [...server.text.matchAll(/^authorization: Bearer (.*)\r$/gm)].map(([, token]) => token);
    expect(tokens).toEqual(["first", "first", "second"]);
    expect(server.connections).toBe(2);
  });
});

describe("[SEC-39] secret files", () => {
  const read = (roots: readonly string[], file: string): ReturnType<Secrets["read"]> =>
    openSecrets({ env: {}, roots, clock: new ManualClock() }).read({ file });

  test("a regular file under a root is read and trimmed, also through the links of a mounted Secret", async () => {
    await using folder = await aFolder();
    await folder.put("..data-1/token", "  value \n");
    await symlink("..data-1", join(folder.path, "..data"));
    await symlink("..data/token", join(folder.path, "token"));
    expect(await read([folder.path], join(folder.path, "token"))).toEqual({ ok: true, value: "value" });
  });

  test("64 KiB are read, one byte more is not", async () => {
    await using folder = await aFolder();
    const fits = await folder.put("fits", "x".repeat(65_536));
    const large = await folder.put("large", "x".repeat(65_537));
    expect(await read([folder.path], fits)).toMatchObject({ ok: true });
    expect(await read([folder.path], large)).toEqual({ ok: false, reason: "too large" });
  });

  test("what is refused", async () => {
    await using folder = await aFolder();
    await using outside = await aFolder();
    const root = join(folder.path, "root");
    const foreign = await outside.put("secret", "outside");
    await folder.put("root/ok", "x");
    await folder.put("root-evil/secret", "sibling");
    await symlink(foreign, join(root, "link"));
    await symlink(outside.path, join(root, "folder"));
    await symlink("/dev/zero", join(root, "zero"));
    execFileSync("mkfifo", [join(root, "fifo")]);
    const token = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${Buffer.from('{"sub":"system:serviceaccount:a:b"}').toString("base64url")}.x`;
    const files = {
      link: join(root, "link"),
      "link to a folder": join(root, "folder", "secret"),
      "..": `${root}/../root-evil/secret`,
      "sibling with the same beginning": join(folder.path, "root-evil/secret"),
      folder: root,
      fifo: join(root, "fifo"),
      device: join(root, "zero"),
      absent: join(root, "absent"),
      empty: await folder.put("root/empty", " \n"),
      binary: await folder.put("root/binary", Buffer.of(0xff, 0xfe, 0)),
      NUL: await folder.put("root/nul", "a\0b"),
      "projected token": await folder.put("root/projected", token),
      "token path": await folder.put("root/secrets/kubernetes.io/serviceaccount/token", "x"),
    };
    const entries = await Promise.all(
      Object.entries(files).map(async ([title, file]) => [title, await read([root], file)] as const),
    );
    expect(Object.fromEntries(entries.map(([title, result]) => [title, result.ok ? "READ" : result.reason]))).toEqual({
      link: "outside the secret roots",
      "link to a folder": "outside the secret roots",
      "..": "outside the secret roots",
      "sibling with the same beginning": "outside the secret roots",
      folder: "outside the secret roots",
      fifo: "not a regular file",
      device: "outside the secret roots",
      absent: "no such file",
      empty: "empty",
      binary: "not plain text",
      NUL: "not plain text",
      "projected token": "a service account's token",
      "token path": "a service account's token",
    });
  });

  test("no root, no file", async () => {
    await using folder = await aFolder();
    expect(await read([], await folder.put("token", "x"))).toEqual({ ok: false, reason: "outside the secret roots" });
  });

  test("what was missing is looked for again at once, what was there is kept for half a minute", async () => {
    await using folder = await aFolder();
    const file = join(folder.path, "token");
    const secrets = openSecrets({ env: {}, roots: [folder.path], clock: new ManualClock() });
    expect(await secrets.read({ file })).toMatchObject({ ok: false });
    await folder.put("token", "now");
    expect(await secrets.read({ file })).toEqual({ ok: true, value: "now" });
    await folder.put("token", "later");
    expect(await secrets.read({ file })).toEqual({ ok: true, value: "now" });
  });
});

describe("[SEC-36] [SEC-37] no secret, body or header comes out again", () => {
  test("whatever the receiver answers, results, logs and metrics hold none of it", async () => {
    const secret = aCanary().replaceAll(/[^!-~]/g, "");
    const [query, body, header] = [aCanary(), aCanary(), aCanary()];
    const echo = (socket: Socket, nth: number): void =>
      void socket.on("data", (chunk: Buffer) => {
        const status = [400, 401, 403, 409, 412, 429, 500, 503][nth % 8] ?? 500;
        if (nth % 9 === 8) socket.resetAndDestroy();
        else socket.end(answer(status, chunk, { "x-echo": "1", connection: "close", "retry-after": "1" }));
      });
    await using server = await openTrap({ serve: echo });
    const about = { ports: [server.port], credentials: bearer("TURNOUT_SECRET_C") };
    await using rig = openRig({
      endpoints: [httpEndpoint({ ...about, allow: { methods: ["PUT"], paths: ["/state"] } as never })],
      env: { TURNOUT_SECRET_C: secret },
    });
    const results: unknown[] = [];
    for (let i = 0; i < 10; i += 1) {
      const about = {
        address: server.address,
        method: "PUT",
        body: { value: body },
        headers: { "x-h": encodeURIComponent(header) },
      };
      results.push(await rig.http.send(aCall({ ...about, path: `/state?q=${encodeURIComponent(query)}` }), never));
    }
    expect(findCanaries(server.text, [secret, query, body, header]).length).toBeGreaterThanOrEqual(4);
    const outputs = [JSON.stringify(results), rig.lines.join(""), await rig.metrics.text()].join("\n");
    expect(findCanaries(outputs, [secret, query, body, header])).toEqual([]);
    expect(new Set(results.map((result) => (result as { kind: string }).kind))).toEqual(new Set(["answer", "lost"]));
  });

  test("a Redis that echoes the password in its errors tells nobody", async () => {
    const password = aCanary();
    const echo = (socket: Socket): void =>
      void socket.on("data", () =>
        socket.write(`-WRONGPASS invalid ${password.replaceAll(/[\r\n]/g, "")} for user\r\n`),
      );
    await using server = await openTrap({ serve: echo });
    await using rig = openRig({
      endpoints: [
        redisEndpoint({
          ports: [server.port],
          addresses: [server.address],
          credentials: { password: { env: "TURNOUT_SECRET_P" } },
        }),
      ],
      env: { TURNOUT_SECRET_P: password },
    });
    const result = await rig.redis().run(["GET", "tenant:a"], { signal: never, timeout: seconds(1), point: null });
    expect(result).toEqual({ kind: "error", code: "WRONGPASS" });
    expect(findCanaries(server.text, [password])).not.toEqual([]);
    expect(findCanaries([JSON.stringify(result), ...rig.lines].join(""), [password])).toEqual([]);
  });
});
