import { SWITCH_TASKS, TENANT_STATES } from "../../src/api/group.ts";
import { type KubeClient, openClient } from "../../src/kube/client.ts";
import { loadConnection } from "../../src/kube/connection.ts";
import { KubeError } from "../../src/kube/errors.ts";
import type { KubeObject, Resource } from "../../src/kube/resource.ts";
import { openTransport } from "../../src/kube/transport.ts";
import { decodeWatchLine, openLineCutter } from "../../src/kube/watch-lines.ts";
import { type KubeStream, plainBoundary } from "../../src/lib/seams.ts";
import { millisOf, minutes, seconds } from "../../src/lib/time.ts";
import { wallClock } from "./wall-clock.ts";

/** A stored version of an object; `deleted`: its last one. */
export interface Version {
  readonly object: KubeObject;
  readonly deleted: boolean;
}

/** Every version of every task and tenant of one namespace, in the API server's order, by a watch of its own. */
export interface StandRecord extends AsyncDisposable {
  readonly client: KubeClient;
  /** @throws where the watch was cut: a gap voids whatever is concluded from it */
  tasks(name: string): readonly Version[];
  tenants(name: string): readonly Version[];
}

const LONGEST_LINE = 8 * 1024 * 1024;

export async function openRecord(kubeconfig: string, namespace: string): Promise<StandRecord> {
  const transport = openTransport(loadConnection({ inCluster: false, kubeconfig }), {
    clock: wallClock,
    boundary: plainBoundary,
    userAgent: "test-record",
  });
  const client = openClient(transport, { clock: wallClock });
  const stop = new AbortController();
  const tasks = await follow(client, { resource: SWITCH_TASKS, namespace, signal: stop.signal });
  const tenants = await follow(client, { resource: TENANT_STATES, namespace, signal: stop.signal });
  return {
    client,
    tasks: tasks.of,
    tenants: tenants.of,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await Promise.all([tasks.ended, tenants.ended]);
      await transport.close();
    },
  };
}

interface Followed {
  readonly of: (name: string) => readonly Version[];
  readonly ended: Promise<void>;
}

interface Following {
  readonly resource: Resource;
  readonly namespace: string;
  readonly signal: AbortSignal;
}

const LONGEST_START = seconds(30);

/** An API server whose definitions were just changed answers 429 until it has read its storage again. */
async function whenServed<T>(ask: () => Promise<T>): Promise<T> {
  const until = wallClock.monotonic() + LONGEST_START;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof KubeError) || error.kind !== "Throttled" || wallClock.monotonic() > until) throw error;
      await wallClock.sleep(millisOf(200));
    }
  }
}

/** Begins with what there is; a stream that ends is taken up where it ended, so that nothing is missed. */
async function follow(client: KubeClient, { resource, namespace, signal }: Following): Promise<Followed> {
  const versions = new Map<string, Version[]>();
  let broken: string | null = null;
  let from: string | null = null;
  const open = (): Promise<KubeStream> =>
    whenServed(() => client.watch(resource, { namespace, resourceVersion: from, endsAfter: minutes(30), signal }));
  const note = (line: Uint8Array): void => {
    const event = decodeWatchLine(line);
    if (event.type === "error" || event.type === "unreadable") throw new Error(JSON.stringify(event));
    if (event.type === "bookmark") {
      from = event.resourceVersion;
      return;
    }
    const { object } = event;
    from = object.metadata.resourceVersion;
    const known = versions.get(object.metadata.name);
    const version = { object, deleted: event.type === "delete" };
    if (known === undefined) versions.set(object.metadata.name, [version]);
    else known.push(version);
  };
  const read = async (first: KubeStream): Promise<void> => {
    let stream = first;
    while (!signal.aborted) {
      const lines = openLineCutter(LONGEST_LINE);
      for await (const chunk of stream.chunks) for (const line of lines.push(chunk)) note(line);
      stream = await open();
    }
  };
  const ended = read(await open()).catch((error: unknown) => void (broken = String(error)));
  return {
    of: (name) => {
      if (broken !== null && !signal.aborted) throw new Error(`the record of ${resource.plural} is broken: ${broken}`);
      return versions.get(name) ?? [];
    },
    ended,
  };
}
