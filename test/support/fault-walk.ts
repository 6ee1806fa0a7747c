import { seconds } from "../../src/lib/time.ts";
import { SWITCH_TASKS } from "../../src/api/group.ts";
import { type Left, leftBy } from "./stand-outcome.ts";
import { aSwitch, CHECK, type Document, NOTIFY, type Space, type TestStand } from "./stand.ts";
import { openWatchProxy, type WatchProxy } from "./watch-proxy.ts";

/** A namespace whose operators go through a proxy to the real API server, while the test itself does not. */
export interface FaultSpace extends Space, AsyncDisposable {
  readonly proxy: WatchProxy;
}

export async function openFaultSpace(stand: TestStand): Promise<FaultSpace> {
  const space = await stand.space();
  const proxy = await openWatchProxy(stand.env["KUBECONFIG_OPERATOR"] ?? "", stand.folder);
  const running: Awaited<ReturnType<Space["operator"]>>[] = [];
  return {
    ...space,
    proxy,
    operator: async (options = {}) => {
      const operator = await space.operator({ kubeconfig: proxy.kubeconfig, ...options });
      running.push(operator);
      return operator;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(running.map((operator) => operator.kill()));
      await proxy[Symbol.asyncDispose]();
    },
  };
}

const NAME = "acme-green";
const POINT = { point: { class: "api/create", subject: null } } as const;

/** Without the detour over kubectl, for tests that make many. */
export async function create({ client, namespace }: Space, manifest: Document): Promise<void> {
  const { metadata, ...rest } = manifest as unknown as { readonly metadata: { readonly name: string } };
  await client.create(SWITCH_TASKS, { ...rest, metadata: { ...metadata, namespace } }, POINT);
}
export async function control({ client, namespace }: Space, name: string, fields: unknown): Promise<void> {
  await client.mergePatch(SWITCH_TASKS, { namespace, name }, { spec: { control: fields } }, POINT);
}

/** Names no namespace, so that plans are equal wherever they ran. */
const SAME_ROUTE = {
  name: "route",
  redis: {
    endpoint: "routing",
    key: "${namespace}:${tenantId}",
    hash: { fields: { unit: "${target.deployUnit.name}" } },
    versionField: "version",
    publish: { channel: "${namespace}-switch", payload: { version: "${plan.version}" } },
  },
};
export const SAME_STAGES: readonly unknown[] = [SAME_ROUTE, NOTIFY, CHECK];

/** Made paused, let go, and rolled back afterwards: three times somebody waits for what only the API server can tell. */
export async function walk(stand: TestStand, space: Space, way: "forward" | "back" = "back"): Promise<Left> {
  await stand.redis.hset(`${space.namespace}:acme`, { unit: "blue", version: "41", owner: "ops" });
  const about = { stages: SAME_STAGES, spec: { control: { paused: true } } };
  await create(space, aSwitch({ ...stand, namespace: space.namespace }, { name: NAME, ...about }));
  await space.phase(NAME, "Paused", PATIENCE);
  await control(space, NAME, { paused: false });
  await space.over(NAME, "Completed", PATIENCE);
  if (way === "back") {
    await control(space, NAME, { rollback: true });
    await space.over(NAME, "RolledBack", PATIENCE);
  }
  return leftBy(stand, space, NAME);
}
const PATIENCE = seconds(40);
