import { expect, inject, onTestFinished, test } from "vitest";

import type { KubeClient } from "../../src/kube/client.ts";
import { systemRng } from "../../src/kube/clock.ts";
import { type Election, LEASES, type LeaseTimings, openElection, type Term } from "../../src/kube/lease.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { aNamespace, openApiProxy, openKubeRig } from "../support/kube-rig.ts";
import { BOTH } from "../support/tcp-proxy.ts";
import { wallClock } from "../support/wall-clock.ts";

const { KUBECONFIG_ADMIN: admin = "" } = inject("env");
/** A fifth of the product's, so that a test takes seconds. */
const QUICK: LeaseTimings = {
  duration: seconds(3),
  renewDeadline: seconds(2),
  retry: seconds(0.4),
  look: seconds(0.3),
};

interface Candidate {
  readonly election: Election;
  readonly term: Promise<Term>;
}

function campaign(client: KubeClient, namespace: string, identity: string): Candidate {
  const election = openElection({
    client,
    namespace,
    name: "leader",
    identity,
    clock: wallClock,
    rng: systemRng,
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    wall: () => wallClock.now(),
    timings: QUICK,
  });
  const stop = new AbortController();
  const term = election.campaign(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await term.then(
      (held) => held.release(),
      () => undefined,
    );
  });
  return { election, term };
}

const leads = (candidate: Candidate): Promise<boolean> => until(() => candidate.election.isLeader, Boolean);

test("[L7] two candidates: one leads, and released it hands over within a retry", async () => {
  const { client } = openKubeRig({ kubeconfig: admin });
  const namespace = await aNamespace(client, "lease");
  const a = campaign(client, namespace, "a");
  await leads(a);
  const b = campaign(client, namespace, "b");
  await until(
    () => b.election.observedHolder,
    (holder) => holder === "a",
  );
  await (await a.term).release();
  const since = wallClock.monotonic();
  await leads(b);
  const took = wallClock.monotonic() - since;
  const { spec } = await client.get(LEASES, { namespace, name: "leader" });
  expect(spec).toMatchObject({ holderIdentity: "b", leaseTransitions: 1, leaseDurationSeconds: 3 });
  expect([a.election.isLeader, b.election.hasEnded("a"), took < QUICK.duration]).toEqual([false, true, true]);
});

test("[L7] [kube-apiserver/silent] a holder that is cut off stops leading before the other takes over", async () => {
  const { client } = openKubeRig({ kubeconfig: admin });
  const namespace = await aNamespace(client, "lease");
  const proxy = await openApiProxy(admin);
  const a = campaign(openKubeRig({ kubeconfig: admin, proxy }).client, namespace, "a");
  await leads(a);
  const { lost } = await a.term;
  const b = campaign(client, namespace, "b");
  await until(
    () => b.election.observedHolder,
    (holder) => holder === "a",
  );
  proxy.hold(...BOTH);
  const both: boolean[] = [];
  const endedAt: Record<string, number> = {};
  await until(
    () => {
      both.push(a.election.isLeader && b.election.isLeader);
      if (!a.election.isLeader) endedAt.a ??= wallClock.monotonic();
      if (b.election.isLeader) endedAt.b ??= wallClock.monotonic();
      return b.election.isLeader;
    },
    Boolean,
    10_000,
  );
  expect([both.includes(true), (endedAt.a ?? Number.POSITIVE_INFINITY) < (endedAt.b ?? 0), lost.aborted]).toEqual([
    false,
    true,
    true,
  ]);
  proxy.clear(); // what was held on the way arrives now, and meets a newer version
  await until(
    () => a.election.isLeader,
    (leading) => !leading,
  );
  expect((await client.get(LEASES, { namespace, name: "leader" })).spec).toMatchObject({ holderIdentity: "b" });
});

test("a renewal whose answer is lost does not end the term", async () => {
  const { client } = openKubeRig({ kubeconfig: admin });
  const namespace = await aNamespace(client, "lease");
  const proxy = await openApiProxy(admin);
  const a = campaign(openKubeRig({ kubeconfig: admin, proxy }).client, namespace, "a");
  await leads(a);
  const versionNow = async (): Promise<string> =>
    (await client.get(LEASES, { namespace, name: "leader" })).metadata.resourceVersion;
  const before = await versionNow();
  proxy.swallow("toClient");
  await until(versionNow, (version) => version !== before);
  proxy.cut();
  proxy.clear();
  const lostOne = await versionNow();
  await until(versionNow, (version) => version !== lostOne);
  expect([a.election.isLeader, (await a.term).lost.aborted]).toEqual([true, false]);
});

test("a restarted holder takes its own lease back at once", async () => {
  const { client } = openKubeRig({ kubeconfig: admin });
  const namespace = await aNamespace(client, "lease");
  const first = campaign(client, namespace, "pod-0");
  await leads(first);
  const since = wallClock.monotonic();
  const second = campaign(client, namespace, "pod-0");
  await leads(second);
  expect(wallClock.monotonic() - since).toBeLessThan(millisOf(QUICK.duration));
  expect((await client.get(LEASES, { namespace, name: "leader" })).spec).toMatchObject({ leaseTransitions: 0 });
});
