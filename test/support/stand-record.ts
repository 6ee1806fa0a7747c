import { SWITCH_TASKS, TENANT_STATES } from "../../src/api/group.ts";
import { type KubeClient, openClient } from "../../src/kube/client.ts";
import { loadConnection } from "../../src/kube/connection.ts";
import { KubeError } from "../../src/kube/errors.ts";
import type { KubeObject, Resource } from "../../src/kube/resource.ts";
import { openTransport } from "../../src/kube/transport.ts";
import { decodeWatchLine } from "../../src/kube/watch-lines.ts";
import { openLineCutter } from "../../src/lib/line-cutter.ts";
import { type KubeStream, plainBoundary } from "../../src/lib/seams.ts";
import { millisOf, minutes, seconds } from "../../src/lib/time.ts";
import { wallClock } from "./wall-clock.ts";

/** A stored version of an object; `deleted`: its last one. */
export interface Version {
  readonly object: KubeObject;
  readonly deleted: boolean;
  /** When the watch told of it, in milliseconds. */
  readonly seen: number;
  /** When this process last had nothing to read: the watch cannot have told before, but since then at any time. */
  readonly idle: number;
}

/** Every version of every task and tenant of one namespace, or of all, in the API server's order, by a watch of its own. */
export interface StandRecord extends AsyncDisposable {
  readonly client: KubeClient;
  /** @throws where the watch was cut: a gap voids whatever is concluded from it */
  tasks(name: string): readonly Version[];
  tenants(name: string): readonly Version[];
  /** All versions of a namespace, kind by kind. @throws as above */
  of(namespace: string): { readonly tasks: readonly Version[]; readonly tenants: readonly Version[] };
  /** Lets go of what is known of a namespace. */
  forget(namespace: string): void;
}

const LONGEST_LINE = 8 * 1024 * 1024;

export async function openRecord(kubeconfig: string, namespace: string | null): Promise<StandRecord> {
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
    of: (wanted) => ({ tasks: tasks.within(wanted), tenants: tenants.within(wanted) }),
    forget: (gone) => {
      tasks.forget(gone);
      tenants.forget(gone);
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await Promise.all([tasks.ended, tenants.ended]);
      await transport.close();
    },
  };
}

interface Followed {
  readonly of: (name: string) => readonly Version[];
  readonly within: (namespace: string) => readonly Version[];
  readonly forget: (namespace: string) => void;
  readonly ended: Promise<void>;
}

interface Following {
  readonly resource: Resource;
  readonly namespace: string | null;
  readonly signal: AbortSignal;
}

class Expired extends Error {}
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

const TICK = 20;

/** A process that is busy reads late what has arrived: its timers come late as well, and tell since when. */
function watchIdle(signal: AbortSignal): { since(): number } {
  let last: number = wallClock.now();
  const timer = setInterval(() => {
    last = wallClock.now();
  }, TICK);
  timer.unref();
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  return { since: () => last };
}

/** Begins with what there is; a stream that ends is taken up where it ended, so that nothing is missed. */
async function follow(client: KubeClient, { resource, namespace, signal }: Following): Promise<Followed> {
  const versions = new Map<string, Version[]>();
  const spaces = new Map<string, Version[]>();
  const add = (map: Map<string, Version[]>, key: string, version: Version): void => {
    const known = map.get(key);
    if (known === undefined) map.set(key, [version]);
    else known.push(version);
  };
  const idle = watchIdle(signal);
  let broken: string | null = null;
  let from: string | null = null;
  const open = (): Promise<KubeStream> =>
    whenServed(() => client.watch(resource, { namespace, resourceVersion: from, endsAfter: minutes(30), signal }));
  const note = (line: Uint8Array): void => {
    const event = decodeWatchLine(line);
    if (event.type === "error" && (event.status as { readonly code?: number }).code === 410) throw new Expired();
    if (event.type === "error" || event.type === "unreadable") throw new Error(JSON.stringify(event));
    if (event.type === "bookmark") {
      from = event.resourceVersion;
      return;
    }
    const { object } = event;
    from = object.metadata.resourceVersion;
    const version = { object, deleted: event.type === "delete", seen: wallClock.now(), idle: idle.since() };
    if (namespace !== null) add(versions, object.metadata.name, version);
    add(spaces, object.metadata.namespace ?? "", version);
  };
  /**
   * A server that changed its definitions forgets what it could replay. Nothing was missed where everything stands at the version seen last.
   * @throws otherwise
   */
  const unmissed = async (): Promise<string> => {
    const list = await whenServed(() => client.list(resource, { namespace, limit: 10_000 }));
    const last = new Map([...spaces.values()].flat().map((version) => [version.object.metadata.uid, version]));
    const standing = [...last.values()].filter(({ deleted }) => !deleted).length;
    const same = list.items.every(
      ({ metadata: { uid, resourceVersion, namespace: of = "" } }) =>
        (namespace === null && !spaces.has(of)) || last.get(uid)?.object.metadata.resourceVersion === resourceVersion,
    );
    if (!same || (namespace !== null && standing !== list.items.length)) throw new Error("versions were missed");
    return list.resourceVersion;
  };
  const read = async (first: KubeStream): Promise<void> => {
    let stream = first;
    while (!signal.aborted) {
      const lines = openLineCutter(LONGEST_LINE);
      try {
        for await (const chunk of stream.chunks) for (const line of lines.push(chunk)) note(line);
      } catch (error) {
        if (!(error instanceof Expired)) throw error;
        from = await unmissed();
      }
      stream = await open();
    }
  };
  const ended = read(await open()).catch((error: unknown) => void (broken = String(error)));
  const known = (map: Map<string, Version[]>, key: string): readonly Version[] => {
    if (broken !== null && !signal.aborted) throw new Error(`the record of ${resource.plural} is broken: ${broken}`);
    return map.get(key) ?? [];
  };
  return {
    of: (name) => known(versions, name),
    within: (space) => known(spaces, space),
    forget: (space) => void spaces.delete(space),
    ended,
  };
}
