import { generateKeyPairSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import type { Rng } from "../../src/lib/seams.ts";
import { makePrivateFolder, writePrivate } from "./private-file.ts";

interface Identity {
  readonly user: string;
  readonly groups: readonly string[];
  /** Namespace of its kubeconfig. */
  readonly namespace: string;
}

/** Who may talk to the API server. A random token each, new at every start; what they may do is real RBAC, but for the first two. */
const IDENTITIES = {
  admin: { user: "admin", groups: ["system:masters"], namespace: "default" },
  "controller-manager": { user: "system:kube-controller-manager", groups: ["system:masters"], namespace: "default" },
  operator: {
    user: "system:serviceaccount:turnout-system:turnout",
    groups: ["system:serviceaccounts", "system:serviceaccounts:turnout-system"],
    namespace: "turnout-system",
  },
  alice: { user: "alice", groups: ["turnout-users"], namespace: "default" },
  bob: { user: "bob", groups: ["turnout-users"], namespace: "default" },
} as const satisfies Record<string, Identity>;
export type IdentityName = keyof typeof IDENTITIES;
const NAMES = Object.keys(IDENTITIES) as IdentityName[];

export interface Credentials {
  readonly tokenFile: string;
  readonly serviceAccountKey: string;
  readonly tokens: Readonly<Record<IdentityName, string>>;
  /** Where {@link writeKubeconfigs} puts the identity's kubeconfig. */
  kubeconfigOf(name: IdentityName): string;
}

/** New tokens and a new service-account key, in files below `folder`. */
export async function createCredentials(folder: string, rng: Rng): Promise<Credentials> {
  await makePrivateFolder(folder);
  const tokens = Object.fromEntries(NAMES.map((name) => [name, rng.id() + rng.id()])) as Record<IdentityName, string>;
  const tokenFile = join(folder, "tokens.csv");
  const rows = NAMES.map((name) => {
    const { user, groups } = IDENTITIES[name];
    return `${tokens[name]},${user},${name},"${groups.join(",")}"\n`;
  });
  await writePrivate(tokenFile, rows.join(""));
  const serviceAccountKey = join(folder, "service-account.key");
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  await writePrivate(serviceAccountKey, privateKey.export({ type: "sec1", format: "pem" }).toString());
  return { tokenFile, serviceAccountKey, tokens, kubeconfigOf: (name) => join(folder, `${name}.kubeconfig`) };
}

/** One kubeconfig per identity; they trust the certificate that the API server made for itself. */
export async function writeKubeconfigs(credentials: Credentials, api: { url: string; caFile: string }): Promise<void> {
  const authority = (await readFile(api.caFile)).toString("base64");
  for (const name of NAMES) {
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": name,
      clusters: [{ name: "turnout-local", cluster: { server: api.url, "certificate-authority-data": authority } }],
      users: [{ name, user: { token: credentials.tokens[name] } }],
      contexts: [{ name, context: { cluster: "turnout-local", user: name, namespace: IDENTITIES[name].namespace } }],
    };
    await writePrivate(credentials.kubeconfigOf(name), `${JSON.stringify(config, null, 2)}\n`);
  }
}
