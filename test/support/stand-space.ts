import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type OperatorProcess, startOperator } from "../../deployment/demo/children.ts";
import { command, type Kubectl } from "../../deployment/demo/kubectl.ts";
import { localClock } from "../../deployment/local/clock.ts";
import type { Machine } from "../../deployment/local/machine.ts";
import { until as poll } from "../../deployment/local/poll.ts";
import { DONE_LABEL, SWITCH_TASKS, TENANT_STATES } from "../../src/api/group.ts";
import type { KubeClient } from "../../src/kube/client.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import type { Json } from "../../src/lib/json.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { type Millis, millisOf, seconds } from "../../src/lib/time.ts";
import { type EventSeen, eventsOf } from "./stand-events.ts";
import { openRecord, type StandRecord } from "./stand-record.ts";
import { type Metrics, scrape } from "./stand-metrics.ts";

export type Env = Readonly<Record<string, string>>;
export type Document = Readonly<Record<string, Json>>;

export interface OperatorOptions {
  readonly identity?: string;
  /** Lease name; null (default): no election, which must not save a test. */
  readonly lease?: string | null;
  readonly boundary?: string;
  readonly clock?: string;
  /** Instead of the operator's own: the way through a proxy. */
  readonly kubeconfig?: string;
  /** Root of a config tree that it reads instead of the stand's settings; what `env` says is read from APP_ENV. */
  readonly config?: string;
  readonly env?: Env;
}
export interface TestOperator extends OperatorProcess {
  readonly log: string;
  /** The numbers that it shows about itself. */
  metrics(): Promise<Metrics>;
  /** Resolves when the process is no more, by whatever way. */
  ended(timeout?: Millis): Promise<void>;
}

/** One namespace of a stand, with the operators that work in it. */
export interface Space {
  readonly namespace: string;
  readonly client: KubeClient;
  readonly record: StandRecord;
  /** Starts an operator; they may be several. `boundary` and `clock` reach the test entry only. */
  operator(options?: OperatorOptions): Promise<TestOperator>;
  create(manifest: unknown): Promise<void>;
  task(name: string): Promise<Document>;
  tenant(name: string): Promise<Document>;
  patch(name: string, control: unknown): Promise<void>;
  /** Waits until `right` holds of a version of the task. @throws with what was seen last */
  until(name: string, what: string, right: (task: Document) => boolean, timeout?: Millis): Promise<Document>;
  phase(name: string, phase: string, timeout?: Millis): Promise<Document>;
  /** In that phase, released, and out of the operator's watch. */
  over(name: string, phase: string, timeout?: Millis): Promise<Document>;
  waits(name: string, reason: string, timeout?: Millis): Promise<Document>;
  /** The answer to a command, once it has that result. */
  answered(name: string, field: string, result: string, timeout?: Millis): Promise<Document>;
  gone(name: string, timeout?: Millis): Promise<void>;
  /** Every stored version, oldest first. */
  versions(name: string): readonly Document[];
  tenantVersions(name: string): readonly Document[];
  /** Events of the task by sequence; waits until there are `count`. */
  events(name: string, count: number): Promise<readonly EventSeen[]>;
}

export interface SpaceFacts {
  readonly namespace: string;
  readonly folder: string;
  readonly env: Env;
  readonly machine: Machine;
  readonly kubectl: Kubectl;
  readonly settings: string;
  readonly token: string;
  readonly closing: AsyncDisposableStack;
}

const OFTEN = millisOf(15);
const PATIENCE = seconds(30);
const docOf = (object: KubeObject): Document => object as unknown as Document;

export async function openSpace(facts: SpaceFacts): Promise<Space> {
  const { namespace, kubectl, closing, folder, machine } = facts;
  const record = closing.use(await openRecord(facts.env["KUBECONFIG_ADMIN"] ?? "", namespace));
  const { client } = record;
  const until: Space["until"] = async (name, what, right, timeout = PATIENCE) => {
    let seen: Document = {};
    const look = (): boolean => {
      const last = record.tasks(name).at(-1);
      seen = last === undefined || last.deleted ? {} : docOf(last.object);
      return right(seen);
    };
    await poll(look, { clock: localClock, timeout, every: OFTEN, what: `${name} ${what}` }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${JSON.stringify(seen["status"] ?? null, null, 1)}`, { cause: error });
    });
    return seen;
  };
  const phase: Space["phase"] = (name, wanted, timeout) =>
    until(name, `to be ${wanted}`, (seen) => at(seen, "/status/phase") === wanted, timeout);
  return {
    namespace,
    client,
    record,
    operator: operators(facts),
    create: async (manifest) => {
      const file = join(folder, `manifest-${machine.rng.id()}.json`);
      await writeFile(file, JSON.stringify(manifest));
      await kubectl.run("create", "-n", namespace, "-f", file);
    },
    task: async (name) => docOf(await client.get(SWITCH_TASKS, { namespace, name })),
    tenant: async (name) => docOf(await client.get(TENANT_STATES, { namespace, name })),
    patch: async (name, control) => void (await kubectl.run(...command(name, namespace, control))),
    until,
    phase,
    over: (name, wanted, timeout) =>
      until(
        name,
        `to be ${wanted} and out of the watch`,
        (seen) =>
          at(seen, "/status/phase") === wanted && at(seen, `/metadata/labels/${escaped(DONE_LABEL)}`) === "true",
        timeout,
      ),
    waits: (name, reason, timeout) =>
      until(name, `to wait: ${reason}`, (seen) => at(seen, "/status/waiting/reason") === reason, timeout),
    answered: (name, field, result, timeout) =>
      until(
        name,
        `to answer ${field}: ${result}`,
        (seen) => at(seen, `/status/commands/${field}/result`) === result,
        timeout,
      ),
    gone: async (name, timeout = PATIENCE) => {
      await poll(() => record.tasks(name).at(-1)?.deleted === true, {
        clock: localClock,
        timeout,
        every: OFTEN,
        what: `${name} to be gone`,
      });
    },
    versions: (name) => record.tasks(name).map(({ object }) => docOf(object)),
    tenantVersions: (name) => record.tenants(name).map(({ object }) => docOf(object)),
    events: (name, count) => eventsOf(client, { namespace, name, count }),
  };
}

const escaped = (key: string): string => key.replaceAll("~", "~0").replaceAll("/", "~1");

interface Settings {
  readonly operator: Readonly<Record<string, unknown>>;
}

const withLease = (settings: Settings, lease: string | null): Settings => ({
  ...settings,
  operator: {
    ...settings.operator,
    leaderElection: lease === null ? { enabled: false } : { enabled: true, name: lease },
  },
});

function operators({ namespace, folder, env, machine, settings, token, closing }: SpaceFacts): Space["operator"] {
  let started = 0;
  return async ({
    identity = `${namespace}-op`,
    lease = null,
    boundary,
    clock,
    kubeconfig,
    config,
    env: more = {},
  } = {}) => {
    started += 1;
    const own = join(folder, `settings-${namespace}-${started}.json`);
    await writeFile(own, JSON.stringify(withLease(JSON.parse(await readFile(settings, "utf8")) as Settings, lease)));
    const log = join(folder, `operator-${namespace}-${started}.log`);
    const args = [
      ...(config === undefined ? ["--settings", own] : ["--config", config]),
      "--kubeconfig",
      kubeconfig ?? env["KUBECONFIG_OPERATOR"] ?? "",
      "--namespace",
      namespace,
      "--identity",
      identity,
    ];
    const variables = {
      TURNOUT_SECRET_GATEWAY: token,
      ...(boundary === undefined ? {} : { TURNOUT_TEST_BOUNDARY: boundary }),
      ...(clock === undefined ? {} : { TURNOUT_TEST_CLOCK: clock }),
      ...more,
    };
    const process = await startOperator({ bundle: "dist/test-operator.mjs", args, env: variables, log }, machine);
    closing.defer(() => process.kill());
    return {
      ...process,
      log,
      metrics: () => scrape(log),
      ended: async (timeout = PATIENCE) => {
        await poll(() => !isAlive(process.pid), {
          clock: localClock,
          timeout,
          every: OFTEN,
          what: `operator ${process.pid} of ${namespace} to end`,
        });
      },
    };
  };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
