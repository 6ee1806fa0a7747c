import { join } from "node:path";

import { seconds } from "../../src/lib/time.ts";
import { answersHttp } from "./probe.ts";
import type { ServerName, ServerSpec } from "./server.ts";

export interface EtcdLayout {
  readonly name: ServerName;
  readonly stateDir: string;
  readonly file: string;
  readonly port: number;
  readonly env: Readonly<Record<string, string>>;
}

/** One etcd member of its own. */
export function etcdServer({ name, stateDir, file, port, env }: EtcdLayout): ServerSpec {
  const url = `http://127.0.0.1:${port}`;
  const dataDir = join(stateDir, "data", name);
  return {
    name,
    address: `127.0.0.1:${port}`,
    file,
    env,
    logFile: join(stateDir, "logs", `${name}.log`),
    dataDir,
    // It waits 7 s for its clients' streams (measured); every write is on disk before it is answered.
    endsWithin: seconds(1),
    args: [
      `--data-dir=${dataDir}`,
      `--listen-client-urls=${url}`,
      `--advertise-client-urls=${url}`,
      // One member: the port is never called, so any free one does.
      "--listen-peer-urls=http://127.0.0.1:0",
      "--quota-backend-bytes=8589934592",
      "--log-level=warn",
    ],
    isHealthy: () => answersHttp({ url: `${url}/health` }),
  };
}
