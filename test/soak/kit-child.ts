import { appendFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import type { Kit, KitServer } from "../../src/infra/boot/kit.ts";
import { systemClock } from "../../src/kube/clock.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { openUsage, type Usage } from "../support/operator-seams.ts";
import { serveKit } from "../support/kit-service.ts";
import { KitLoad, type LoadReport, withStores } from "./kit-load.ts";

/** A line of SOAK_USAGE. */
export interface KitUsage extends Usage, LoadReport {
  readonly sockets: number;
  readonly queues: Readonly<Record<string, number>>;
  /** Milliseconds: which of the parent's changes is in force. */
  readonly configured: number;
  /** The load is over, and everything was looked for. */
  readonly over: boolean;
}

const { SOAK_USAGE = "", SOAK_MILLIS = "", SOAK_RUN = "", SOAK_LEAK = "" } = process.env;
const EVERY = seconds(2);

/** The load begins when everything stands, and ends by itself; it goes on being looked at until the process is told to end. */
function load(kit: Kit): KitServer {
  const closing = new AbortController();
  const stop = new AbortController();
  const about = { run: SOAK_RUN, stop: stop.signal, leak: SOAK_LEAK === "" ? null : SOAK_LEAK };
  const work = new KitLoad(withStores(kit), about);
  const usage = openUsage();
  const kept: Socket[] = [];
  const say = (over: boolean): void => {
    const sockets = process.getActiveResourcesInfo().filter((name) => name.startsWith("TCPSocket")).length;
    const configured = kit.config.cache?.current().slowThreshold ?? 0;
    const line: KitUsage = { ...usage(), ...work.report(), sockets, queues: work.queues(), configured, over };
    appendFileSync(SOAK_USAGE, `${JSON.stringify(line)}\n`);
  };
  const look = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      if (about.leak === "sockets") kept.push(connect(kit.shownAt));
      say(false);
      await systemClock.sleep(EVERY, stop.signal).catch(() => undefined);
    }
  };
  const run = async (): Promise<void> => {
    const over = systemClock.sleep(millisOf(Number(SOAK_MILLIS)), closing.signal).catch(() => undefined);
    void over.then(() => stop.abort());
    await Promise.all([work.run(), look()]);
    say(true);
  };
  return {
    name: "load",
    open: async () => {
      const running = run();
      running.catch((error: unknown) => kit.log.error({ error }, "the load failed"));
      return {
        port: kit.shownAt.port,
        close: async () => {
          closing.abort();
          for (const socket of kept) socket.destroy();
          await running.catch(() => undefined);
        },
      };
    },
  };
}

await serveKit({
  instance: `im-repo-${SOAK_RUN}`,
  stores: { cache: "required", db: "required", mq: "required" },
  registered: { host: "127.0.0.1" },
  servers: (kit) => [load(kit)],
});
