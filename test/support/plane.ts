import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { at } from "../../src/lib/json-pointer.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { seconds } from "../../src/lib/time.ts";
import type { TestStand } from "./stand.ts";
import { textAt } from "./stand-read.ts";
import type { TestOperator } from "./stand-space.ts";

export type Endpoint = Readonly<Record<string, unknown>>;
export const FIVE = seconds(5);

/** An operator on the config plane: a tree of files, and above it a centre. */
export interface Plane {
  readonly operator: TestOperator;
  /** What the stand's settings file holds. */
  readonly endpoints: readonly Endpoint[];
  health(component: string): Promise<string>;
}

export interface PlaneAbout {
  /** Endpoints that stand in the files; all of the stand's unless said otherwise. */
  readonly left?: (endpoint: Endpoint) => boolean;
  /** Laid over the stand's settings of the operator. */
  readonly operator?: Readonly<Record<string, unknown>>;
  /** A port of 127.0.0.1 beside those of the gateway. */
  readonly through?: number;
}

/** An operator whose files are the stand's settings, and whose centre lies behind the link. */
export async function startPlane(
  stand: TestStand,
  link: { readonly port: number },
  { left = () => true, operator: over = {}, through }: PlaneAbout = {},
): Promise<Plane> {
  const root = join(stand.folder, `config-${localClock.monotonic()}`);
  const folder = join(root, "dev", "turnout");
  await mkdir(folder, { recursive: true });
  const settings = JSON.parse(await readFile(stand.settings, "utf8")) as { operator: Endpoint; endpoints: Endpoint[] };
  const operator = { ...settings.operator, leaderElection: { enabled: false }, ...over };
  await writeFile(join(folder, "operator.json"), JSON.stringify(operator));
  await writeFile(
    join(folder, "endpoints.json"),
    JSON.stringify(settings.endpoints.filter(left).map((one) => reached(one, through))),
  );
  const started = await stand.operator({
    config: root,
    env: { APP_ENV: "dev", COORD_ENDPOINTS: `http://127.0.0.1:${link.port}` },
  });
  return { operator: started, endpoints: settings.endpoints, health: (component) => healthOf(started, component) };
}

function reached(endpoint: Endpoint, through: number | undefined): Endpoint {
  if (through === undefined || endpoint["name"] !== "im-gateway") return endpoint;
  const { ports, addresses } = endpoint as { readonly ports: readonly number[]; readonly addresses: readonly string[] };
  return { ...endpoint, ports: [...ports, through], addresses: [...addresses, `127.0.0.1:${through}`] };
}

async function healthOf(operator: TestOperator, component: string): Promise<string> {
  const line = (await readFile(operator.log, "utf8")).split("\n").find((one) => one.includes('"started"')) ?? "{}";
  const listen = at(JSON.parse(line) as Json, "/listen") as { readonly host: string; readonly port: number };
  const answer = (await (await fetch(`http://${listen.host}:${listen.port}/health`)).json()) as JsonObject;
  const path = component.replace("/", "~1");
  return `${textAt(answer, `/components/${path}/status`)}: ${textAt(answer, `/components/${path}/message`)}`;
}

export const turns = (what: string, plane: Plane, component: string, says: RegExp): Promise<string> =>
  until(async () => ((text) => (says.test(text) ? text : null))(await plane.health(component)), {
    clock: localClock,
    timeout: FIVE,
    what: `${component} to be ${what}`,
  });
