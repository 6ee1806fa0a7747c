import { mkdtempDisposable, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import type { Redis } from "ioredis";
import { openMachine } from "../../deployment/local/machine.ts";
import { redisBinary } from "../../deployment/local/redis.ts";
import { until } from "./egress/until.ts";
import { connectTo, type RedisAt } from "./stage-rig-redis.ts";

/** A redis-server of one test's own, for what would disturb others. */
export interface RedisServer extends AsyncDisposable {
  readonly at: RedisAt;
  readonly db: Redis;
  /** Ends it, and starts it again on the same data with these settings instead. */
  restart(settings: readonly string[]): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  freeze(): void;
  thaw(): void;
  kill(): Promise<void>;
}

/** @throws Error with the server's own words where it does not come up. */
export async function openRedisServer(settings: readonly string[] = []): Promise<RedisServer> {
  await using opening = new AsyncDisposableStack();
  const folder = opening.use(await mkdtempDisposable(join(tmpdir(), "turnout-redis-")));
  const machine = opening.use(await openMachine({ print: () => undefined }));
  const { file, libraryPath } = await redisBinary(machine);
  const port = await freePort();
  const log = join(folder.path, "log");
  const common = ["--bind", "127.0.0.1", "--port", `${port}`, "--dir", folder.path, "--logfile", log, "--save", ""];
  const env = { ...machine.variables, ...(libraryPath === "" ? {} : { LD_LIBRARY_PATH: libraryPath }) };
  const spawn = (more: readonly string[]) => {
    const child = machine.lifeline.spawn({
      file,
      args: [...common, "--set-proc-title", "no", ...more],
      env,
      stdio: "ignore",
    });
    return { child, exited: once(child, "exit") };
  };
  let running = spawn(settings);
  const kill = async (signal: NodeJS.Signals = "SIGKILL"): Promise<void> => {
    if (running.child.exitCode === null && running.child.signalCode === null) running.child.kill(signal);
    await running.exited;
  };
  opening.defer(() => kill());
  const at: RedisAt = { host: "127.0.0.1", port };
  const db = connectTo(at);
  opening.defer(() => db.disconnect());
  await until(
    () => db.ping().catch((error: unknown) => String(error)),
    (answer) => answer === "PONG",
  ).catch(async (error: unknown) => {
    throw new Error(`${String(error)}: ${await readFile(log, "utf8").catch(() => "")}`);
  });
  const open = opening.move();
  return {
    at,
    db,
    restart: async (more) => {
      await kill("SIGTERM");
      running = spawn(more);
    },
    freeze: () => void running.child.kill("SIGSTOP"),
    thaw: () => void running.child.kill("SIGCONT"),
    kill: () => kill(),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
