import { effectLines, effectsAt, textAt } from "../support/stand-read.ts";
import { aSwitch, type Document, NOTIFY, ROUTE, type TaskAbout, type TestStand } from "../support/stand.ts";

/** What the tests of commands ask of a stand that is up once they run. */
export interface Commanded {
  readonly tenantOf: (name: string) => string;
  /** A task and its tenant of the same name; where the tenant was before stands in Redis. */
  readonly started: (name: string, about?: TaskAbout) => Promise<void>;
  readonly effects: (name: string) => Promise<readonly string[]>;
  readonly redis: (name: string) => Promise<Record<string, string>>;
  readonly reasons: (name: string, count: number) => Promise<readonly string[]>;
  readonly route: () => unknown;
}

export function commandedOn(stand: () => TestStand): Commanded {
  const tenantOf = (name: string): string => `${stand().namespace}/${name}`;
  return {
    tenantOf,
    started: async (name, about = {}) => {
      await stand().redis.hset(`${stand().namespace}:${name}`, { unit: "blue", version: "41" });
      await stand().create(aSwitch(stand(), { name, tenantId: name, ...about }));
    },
    effects: async (name) => effectLines(await effectsAt([stand().blue, stand().green], tenantOf(name))),
    redis: (name) => stand().redis.hgetall(`${stand().namespace}:${name}`),
    reasons: async (name, count) => (await stand().events(name, count)).map(({ reason }) => reason),
    route: () => ROUTE(stand().namespace),
  };
}

export const answer = (task: Document, field: string): string =>
  [textAt(task, `/status/commands/${field}/result`), textAt(task, `/status/commands/${field}/reason`)]
    .filter((part) => part !== "")
    .join(": ");
export const called = (name: string): unknown => ({ ...(NOTIFY as object), name });
export const AT_BLUE = { unit: "blue", version: "41" };
/** Long enough for a kubectl to start on a busy machine; the stages that take it wait longer. */
export const IN_FLIGHT = 2500;
export const UNHURRIED = { attemptTimeout: "12s", instanceTimeout: "10s" };
/** What an undone announce leaves: told forward, then told again at both sides. */
export const UNDONE = ["blue 41 applied", "green 42 applied", "green 41 applied"];
