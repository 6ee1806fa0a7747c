import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";

import { isAmbiguous, isConflict, isNamespaceTerminating, KubeError } from "../../src/kube/errors.ts";
import { withFinalizer } from "../../src/kube/finalizer.ts";
import { type KubeObject, refOf } from "../../src/kube/resource.ts";
import { createStore } from "../../src/kube/store.ts";
import { millisOf } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import {
  aNamespace,
  createScratch,
  NAMESPACES,
  openApiProxy,
  openKubeRig,
  openScratchKind,
  POINT,
  type Scratch,
  type ScratchKind,
} from "../support/kube-rig.ts";

const { KUBECONFIG_ADMIN: admin = "", KUBECONFIG_USER: user = "", ETCD_URL: etcd = "" } = inject("env");

let kind: ScratchKind;
beforeAll(async () => {
  kind = await openScratchKind(admin);
});
afterAll(() => kind.remove());

async function scratch(): Promise<Scratch> {
  const { client } = openKubeRig({ kubeconfig: admin });
  return { client, resource: kind.resource, namespace: await aNamespace(client, "client") };
}

/** Forgets older revisions, as a cluster does every five minutes. */
async function compactBelow(revision: string): Promise<void> {
  const request = { method: "POST", body: JSON.stringify({ revision, physical: true }) };
  const { ok } = await fetch(`${etcd}/v3/kv/compaction`, request);
  if (!ok) throw new Error(`etcd does not compact below ${revision}`);
}

const caught = (work: Promise<unknown>): Promise<KubeError> =>
  work.then(
    () => Promise.reject(new Error("it did not throw")),
    (error: unknown) => (error instanceof KubeError ? error : Promise.reject(error as Error)),
  );

describe("writes meet what others wrote", () => {
  test("409 is told apart: Conflict for a stale version, AlreadyExists for a name that is taken", async () => {
    const { client, resource, namespace } = await scratch();
    const first = await createScratch({ client, resource, namespace }, "a", { colour: "red" });
    const second = await client.replace(resource, { ...first, spec: { colour: "blue" } }, { point: POINT });
    expect(second.metadata.resourceVersion).not.toBe(first.metadata.resourceVersion);
    const errors = [
      await caught(createScratch({ client, resource, namespace }, "a")),
      await caught(client.replace(resource, { ...first, spec: { colour: "green" } }, { point: POINT })),
      await caught(client.replaceStatus(resource, { ...first, status: { phase: "Stale" } }, { point: POINT })),
    ];
    expect(errors.map(({ kind }) => kind)).toEqual(["AlreadyExists", "Conflict", "Conflict"]);
    expect(await client.get(resource, refOf(first))).toEqual(second);
  });

  test("[S13] a metadata patch and a deletion name the uid and the version: a stale or foreign one changes nothing", async () => {
    const { client, resource, namespace } = await scratch();
    const first = await createScratch({ client, resource, namespace }, "a");
    const ref = refOf(first);
    const { uid, resourceVersion } = first.metadata;
    const labelled = await client.patchMetadata(
      resource,
      ref,
      {
        uid,
        resourceVersion,
        labels: { done: "true", keep: "1" },
        finalizers: withFinalizer(first, "test.local/hold"),
      },
      { point: POINT },
    );
    expect(labelled.metadata).toMatchObject({ labels: { done: "true", keep: "1" }, finalizers: ["test.local/hold"] });
    const stale = { uid, resourceVersion, labels: { done: "false" } };
    expect(isConflict(await caught(client.patchMetadata(resource, ref, stale, { point: POINT })))).toBe(true);
    const foreign = "00000000-0000-4000-8000-000000000000";
    const wrong = { uid: foreign, resourceVersion: labelled.metadata.resourceVersion, labels: { done: "false" } };
    expect((await caught(client.patchMetadata(resource, ref, wrong, { point: POINT }))).kind).toMatch(
      /^(Conflict|Invalid)$/,
    );
    expect(isConflict(await caught(client.delete(resource, ref, { uid: foreign }, { point: POINT })))).toBe(true);
    expect(isConflict(await caught(client.delete(resource, ref, { uid, resourceVersion }, { point: POINT })))).toBe(
      true,
    );
    expect(await client.get(resource, ref)).toEqual(labelled);
    const bare = { uid, resourceVersion: labelled.metadata.resourceVersion, labels: { done: null }, finalizers: [] };
    expect((await client.patchMetadata(resource, ref, bare, { point: POINT })).metadata.labels).toEqual({ keep: "1" });
    await client.delete(resource, ref, { uid }, { point: POINT });
    expect((await caught(client.get(resource, ref))).kind).toBe("NotFound");
  });

  test("a write that changes nothing keeps the version", async () => {
    const { client, resource, namespace } = await scratch();
    const first = await createScratch({ client, resource, namespace }, "a", { colour: "red" });
    const same = await client.replace(resource, first, { point: POINT });
    expect(same.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
  });
});

describe("a status PUT of the object as it was read", () => {
  test("[S32] keeps fields that this release does not know, and touches nothing outside the status", async () => {
    const { client, resource, namespace } = await scratch();
    const first = await createScratch({ client, resource, namespace }, "a", { colour: "red" });
    const status = { phase: "One", ofANewerRelease: { deep: [{ kept: true }, null] } };
    const newer = await client.replaceStatus(resource, { ...first, status }, { point: POINT });
    const read = await client.get(resource, refOf(first));
    const ours = { ...read, spec: { colour: "tampered" }, status: { ...Object(read.status), phase: "Two" } };
    const written = await client.replaceStatus(resource, ours, { point: POINT });
    expect(written.status).toEqual({ ...status, phase: "Two" });
    expect([written.spec, written.metadata.generation]).toEqual([{ colour: "red" }, newer.metadata.generation]);
  });

  // The cache drops managedFields (store.ts); a status is PUT from such a copy.
  test.each([
    ["absent", (object: KubeObject) => createStore().apply(object).object ?? object],
    [
      "null",
      (object: KubeObject) =>
        ({ ...object, metadata: { ...object.metadata, managedFields: null } }) as unknown as KubeObject,
    ],
    ["empty", (object: KubeObject) => ({ ...object, metadata: { ...object.metadata, managedFields: [] } })],
  ])("with managedFields %s leaves those of others as they are, and adds our own", async (_how, strip) => {
    const { client, resource, namespace } = await scratch();
    await createScratch({ client, resource, namespace }, "a", { colour: "red" });
    const patched = await client.mergePatch(
      resource,
      { namespace, name: "a" },
      { spec: { size: 3 } },
      { point: POINT },
    );
    const before = patched.metadata.managedFields ?? [];
    expect(before.length).toBeGreaterThan(0);
    const copy = strip(patched);
    expect(copy.metadata.managedFields ?? []).toEqual([]);
    const written = await client.replaceStatus(resource, { ...copy, status: { phase: "One" } }, { point: POINT });
    const after = written.metadata.managedFields ?? [];
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after.slice(before.length)).toMatchObject([{ subresource: "status", operation: "Update" }]);
  });
});

describe("[kube-apiserver/lost] an answer that is lost", () => {
  test("[S26] is ambiguous: it was carried out, and reading shows it", async () => {
    const { client, resource, namespace } = await scratch();
    const first = await createScratch({ client, resource, namespace }, "a");
    const proxy = await openApiProxy(admin);
    const rig = openKubeRig({ kubeconfig: admin, proxy });
    await rig.client.get(resource, refOf(first));
    proxy.swallow("toClient");
    const write = caught(
      rig.client.replaceStatus(
        resource,
        { ...first, status: { phase: "Claimed" } },
        { point: POINT, timeout: millisOf(1500) },
      ),
    );
    const read = await until(
      () => client.get(resource, refOf(first)),
      ({ status }) => status !== undefined,
    );
    proxy.cut();
    expect([isAmbiguous(await write), read.status]).toEqual([true, { phase: "Claimed" }]);
    proxy.clear();
    expect((await rig.client.get(resource, refOf(first))).status).toEqual({ phase: "Claimed" });
  });

  test("[S26] is ambiguous too where the request never arrived; nothing was carried out, nothing arrives later by itself", async () => {
    const { client, resource, namespace } = await scratch();
    const first = await createScratch({ client, resource, namespace }, "a");
    const proxy = await openApiProxy(admin);
    const rig = openKubeRig({ kubeconfig: admin, proxy });
    await rig.client.get(resource, refOf(first));
    proxy.swallow("toServer");
    const write = caught(
      rig.client.replaceStatus(
        resource,
        { ...first, status: { phase: "Claimed" } },
        { point: POINT, timeout: millisOf(300) },
      ),
    );
    expect(isAmbiguous(await write)).toBe(true);
    proxy.clear();
    expect(await rig.client.get(resource, refOf(first))).toEqual(first);
  });

  test("[kube-apiserver/late] held on the way it arrives after somebody else's write, and is refused", async () => {
    const { client, resource, namespace } = await scratch();
    const first = await createScratch({ client, resource, namespace }, "a");
    const proxy = await openApiProxy(admin);
    const rig = openKubeRig({ kubeconfig: admin, proxy });
    await rig.client.get(resource, refOf(first));
    proxy.hold("toServer");
    const late = caught(rig.client.replaceStatus(resource, { ...first, status: { phase: "Late" } }, { point: POINT }));
    await until(
      () => proxy.held.toServer,
      (bytes) => bytes > 0,
    );
    const successor = await client.replaceStatus(
      resource,
      { ...first, status: { phase: "Successor" } },
      { point: POINT },
    );
    proxy.release();
    expect(isConflict(await late)).toBe(true);
    expect(await client.get(resource, refOf(first))).toEqual(successor);
  });
});

test("[kube-apiserver/down] nobody listens: refused, and the next request after it is back goes through", async () => {
  const proxy = await openApiProxy(admin);
  const { client } = openKubeRig({ kubeconfig: admin, proxy });
  const ref = { namespace: null, name: "default" };
  await client.get(NAMESPACES, ref);
  proxy.refuse();
  proxy.cut();
  await until(
    () => caught(client.get(NAMESPACES, ref)),
    ({ kind }) => kind === "Refused",
  );
  proxy.clear();
  expect((await client.get(NAMESPACES, ref)).metadata.name).toBe("default");
});

test("[L4] 410 on a continuation that is too old begins the list again", async () => {
  const { client, resource, namespace } = await scratch();
  for (const name of ["a", "b", "c"]) await createScratch({ client, resource, namespace }, name);
  const { resourceVersion } = await client.list(resource, { namespace });
  await compactBelow(resourceVersion);
  // Of long ago: a recent one would be answered from the API server's memory.
  const token = { v: "meta.k8s.io/v1", rv: 1, start: `${namespace}/a\u0000` };
  const old = Buffer.from(JSON.stringify(token)).toString("base64url");
  expect(await caught(client.list(resource, { namespace: null, limit: 1, continue: old }))).toMatchObject({
    kind: "Gone",
    status: 410,
  });
  const pages: string[] = [];
  for await (const { items } of client.listAll(resource, { namespace, limit: 2 }))
    pages.push(items.map(({ metadata }) => metadata.name).join());
  expect(pages).toEqual(["a,b", "c"]);
});

describe("refusals say why in the API server's words", () => {
  test("[kube-apiserver/denied] 403 names account, verb and resource; 422 names the field", async () => {
    const { client, resource, namespace } = await scratch();
    const plain = openKubeRig({ kubeconfig: user });
    const forbidden = await caught(createScratch({ client: plain.client, resource, namespace }, "a"));
    expect([forbidden.kind, forbidden.message]).toEqual([
      "Forbidden",
      expect.stringMatching(/^create w\S+ \S+\/a: Forbidden \(403 Forbidden\): .*cannot create resource/),
    ]);
    const invalid = await caught(createScratch({ client, resource, namespace }, "a", { size: 1000 }));
    expect([invalid.kind, invalid.message]).toEqual(["Invalid", expect.stringContaining("spec.size")]);
  });

  test("a create into a namespace that goes away is told as such", async () => {
    const { client, resource, namespace } = await scratch();
    const held = await createScratch({ client, resource, namespace }, "a");
    const { uid, resourceVersion } = held.metadata;
    const patched = await client.patchMetadata(
      resource,
      refOf(held),
      { uid, resourceVersion, finalizers: ["test.local/hold"] },
      { point: POINT },
    );
    const { metadata } = await client.get(NAMESPACES, { namespace: null, name: namespace });
    await client.delete(NAMESPACES, { namespace: null, name: namespace }, { uid: metadata.uid }, { point: POINT });
    const error = await caught(createScratch({ client, resource, namespace }, "b"));
    expect([isNamespaceTerminating(error), error.message]).toEqual([true, expect.stringContaining("being terminated")]);
    const now = await client.get(resource, refOf(patched));
    await client.patchMetadata(
      resource,
      refOf(now),
      { uid, resourceVersion: now.metadata.resourceVersion, finalizers: [] },
      { point: POINT },
    );
  });
});
