import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, onTestFinished, test, vi } from "vitest";

import { ConnectionError, loadConnection, tlsDigest } from "../../src/kube/connection.ts";

async function aFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "connection-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

interface About {
  readonly cluster?: Readonly<Record<string, unknown>>;
  readonly user?: Readonly<Record<string, unknown>>;
}

/** A kubeconfig (JSON is YAML) with the contexts `main` and `other`. */
function kubeconfig({ cluster, user }: About): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      { name: "c", cluster: { server: "https://api.example:6443", ...cluster } },
      { name: "d", cluster: { server: "https://other.example/k8s/clusters/c-1/" } },
    ],
    users: [
      { name: "u", user: { token: "secret", ...user } },
      {
        name: "v",
        user: {
          "client-certificate-data": Buffer.from("CERT").toString("base64"),
          "client-key-data": Buffer.from("KEY").toString("base64"),
        },
      },
    ],
    contexts: [
      { name: "main", context: { cluster: "c", user: "u" } },
      { name: "other", context: { cluster: "d", user: "v" } },
    ],
    "current-context": "main",
  });
}

async function aKubeconfig(about: About = {}): Promise<string> {
  const file = join(await aFolder(), "config");
  await writeFile(file, kubeconfig(about));
  return file;
}

describe("a kubeconfig", () => {
  test("gives server, token and authority of its current context", async () => {
    const ca = Buffer.from("CA").toString("base64");
    const file = await aKubeconfig({ cluster: { "certificate-authority-data": ca, "tls-server-name": "kubernetes" } });
    const connection = loadConnection({ inCluster: false, kubeconfig: file });
    expect(connection).toMatchObject({
      origin: "https://api.example:6443",
      basePath: "",
      user: "user u of context main",
    });
    expect(await connection.read(false)).toEqual({
      headers: { authorization: "Bearer secret" },
      tls: { ca: "CA", cert: null, key: null, servername: "kubernetes" },
    });
  });

  test("of another context gives its client certificate, and the path under which a gateway serves the API", async () => {
    const connection = loadConnection({ inCluster: false, kubeconfig: await aKubeconfig(), context: "other" });
    expect([connection.origin, connection.basePath]).toEqual(["https://other.example", "/k8s/clusters/c-1"]);
    expect(await connection.read(false)).toMatchObject({ headers: {}, tls: { cert: "CERT", key: "KEY", ca: null } });
  });

  test("may name a user and password, and somebody to act as", async () => {
    const file = await aKubeconfig({ user: { token: undefined, username: "jane", password: "p", as: "someone" } });
    const { headers } = await loadConnection({ inCluster: false, kubeconfig: file }).read(false);
    expect(headers).toEqual({
      "impersonate-user": "someone",
      authorization: `Basic ${Buffer.from("jane:p").toString("base64")}`,
    });
  });

  test("[SEC-29] that changes is read anew", async () => {
    const file = await aKubeconfig();
    const connection = loadConnection({ inCluster: false, kubeconfig: file });
    await writeFile(file, kubeconfig({ user: { token: "rotated\n" } }));
    expect((await connection.read(false)).headers).toEqual({ authorization: "Bearer rotated" });
  });

  test("with a plugin keeps what the plugin gave until it is doubted", async () => {
    const folder = await aFolder();
    const [plugin, counter] = [join(folder, "plugin.sh"), join(folder, "count")];
    const script = `echo x >> ${counter}; echo '{"kind":"ExecCredential","status":{"token":"t'$(wc -l < ${counter})'"}}'`;
    await writeFile(plugin, script);
    const file = await aKubeconfig({
      user: {
        token: undefined,
        exec: { apiVersion: "client.authentication.k8s.io/v1", command: "sh", args: [plugin] },
      },
    });
    const connection = loadConnection({ inCluster: false, kubeconfig: file });
    const token = async (fresh: boolean): Promise<string | undefined> =>
      (await connection.read(fresh)).headers.authorization;
    expect([await token(false), await token(false), await token(true), await token(false)]).toEqual([
      "Bearer t1",
      "Bearer t1",
      "Bearer t2",
      "Bearer t2",
    ]);
  });

  test.each<readonly [string, About, string]>([
    ["plain http", { cluster: { server: "http://api.example" } }, "http:// is refused, a token would be sent in clear"],
    ["no verification", { cluster: { "insecure-skip-tls-verify": true } }, "insecure-skip-tls-verify is refused"],
    ["[SEC-23] a proxy", { cluster: { "proxy-url": "http://proxy.example" } }, "proxy-url is refused"],
    ["a server that is no URL", { cluster: { server: "nowhere" } }, "server nowhere is no URL"],
  ])("%s is refused", async (_what, about, message) => {
    const kubeconfig = await aKubeconfig(about);
    expect(() => loadConnection({ inCluster: false, kubeconfig })).toThrow(
      expect.objectContaining({ name: "ConnectionError", message: expect.stringContaining(message) }),
    );
  });

  test("a context that it does not know is named beside those it knows", async () => {
    const file = await aKubeconfig();
    expect(() => loadConnection({ inCluster: false, kubeconfig: file, context: "prod" })).toThrow(
      `${file}: context prod has no cluster and user; it knows main, other`,
    );
  });

  test("that is missing or no kubeconfig is named, with the way out", async () => {
    const missing = join(await aFolder(), "missing");
    expect(() => loadConnection({ inCluster: false, kubeconfig: missing })).toThrow(`cannot read ${missing} (ENOENT)`);
    await writeFile(missing, "{");
    expect(() => loadConnection({ inCluster: false, kubeconfig: missing })).toThrow(ConnectionError);
  });

  test("is the one of the environment where none is named", async () => {
    vi.stubEnv("KUBECONFIG", await aKubeconfig());
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(loadConnection({ inCluster: false }).origin).toBe("https://api.example:6443");
  });
});

describe("a pod", () => {
  const mount = async (root: string, token: string): Promise<void> => {
    const folder = join(root, "var/run/secrets/kubernetes.io/serviceaccount");
    await mkdir(folder, { recursive: true });
    await Promise.all([
      writeFile(join(folder, "token"), token),
      writeFile(join(folder, "ca.crt"), "CA"),
      writeFile(join(folder, "namespace"), "turnout-system"),
    ]);
  };

  test("[SEC-29] uses its mounted service account, trimmed, and sees a rotated token at the next read", async () => {
    const root = await aFolder();
    vi.stubEnv("KUBERNETES_SERVICE_HOST", "fd00::1");
    vi.stubEnv("KUBERNETES_SERVICE_PORT", "443");
    onTestFinished(() => void vi.unstubAllEnvs());
    await mount(root, "one\n");
    const connection = loadConnection({ inCluster: true, root });
    expect([connection.origin, connection.user]).toEqual(["https://[fd00::1]", "the pod's service account"]);
    expect(await connection.read(false)).toMatchObject({ headers: { authorization: "Bearer one" }, tls: { ca: "CA" } });
    await mount(root, "two\n");
    expect((await connection.read(false)).headers.authorization).toBe("Bearer two");
  });

  test("without its environment says that this is no pod", () => {
    vi.stubEnv("KUBERNETES_SERVICE_HOST", undefined);
    vi.stubEnv("KUBERNETES_SERVICE_PORT", undefined);
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(() => loadConnection({ inCluster: true })).toThrow("this is no pod");
  });
});

test("a TLS identity is another one as soon as any part of it is", () => {
  const none = { ca: null, cert: null, key: null, servername: null };
  const all = [
    none,
    { ...none, ca: "" },
    { ...none, ca: "x" },
    { ...none, cert: "x" },
    { ...none, key: "x" },
    { ...none, servername: "x" },
  ];
  expect(new Set(all.map(tlsDigest)).size).toBe(all.length);
  expect(tlsDigest({ ...none, ca: "x" })).toBe(tlsDigest({ ca: "x", cert: null, key: null, servername: null }));
});
