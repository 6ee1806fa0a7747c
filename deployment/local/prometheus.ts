import { join } from "node:path";

import { seconds } from "../../src/lib/time.ts";
import { onPath } from "./command.ts";
import { librariesOf, unpackedDebian, type Unpacked } from "./debian-package.ts";
import type { ExtraServer } from "./extra.ts";
import type { Machine } from "./machine.ts";
import { writePrivate } from "./private-file.ts";
import { answersHttp } from "./probe.ts";
import { PROBLEM } from "./problem.ts";

/** Names a running Prometheus to use instead: `http://HOST:PORT`. */
const VARIABLE = "TURNOUT_LOCAL_PROMETHEUS_URL";

async function binary(machine: Machine): Promise<Unpacked> {
  const file = await onPath("prometheus", machine);
  if (file !== null) return { file, libraryPath: "" };
  return unpackedDebian({ command: "prometheus", debian: "prometheus", variable: VARIABLE }, machine);
}

/** What it scrapes: the targets of a file that it looks at again by itself; of this file it is told by `POST /-/reload`. */
const settings = (targets: string): string => `global:
  scrape_interval: 1s
  scrape_timeout: 1s
  evaluation_interval: 1s
scrape_configs:
  - job_name: turnout
    file_sd_configs:
      - files: [${JSON.stringify(targets)}]
        refresh_interval: 1s
`;

export const prometheus: ExtraServer = {
  fetch: binary,
  async prepare({ stateDir, env, port }, machine) {
    const named = machine.variables[VARIABLE];
    if (named) {
      const answers = await answersHttp({ url: `${named}/-/ready` }).catch(() => false);
      if (!answers) throw PROBLEM.namedSilent({ variable: VARIABLE, address: named });
      return { spec: null, env: { PROMETHEUS_URL: named } };
    }
    const { file, libraryPath } = await binary(machine);
    const [config, targets] = [join(stateDir, "prometheus.yml"), join(stateDir, "prometheus-targets.json")];
    await writePrivate(config, settings(targets));
    await writePrivate(targets, "[]\n");
    const address = `127.0.0.1:${await port()}`;
    const url = `http://${address}`;
    const dataDir = join(stateDir, "data", "prometheus");
    return {
      env: { PROMETHEUS_URL: url, PROMETHEUS_CONFIG: config, PROMETHEUS_TARGETS: targets },
      spec: {
        name: "prometheus",
        address,
        file,
        args: [
          `--config.file=${config}`,
          `--storage.tsdb.path=${dataDir}`,
          `--web.listen-address=${address}`,
          "--web.enable-lifecycle",
          "--log.level=warn",
        ],
        env: { ...env, ...librariesOf(libraryPath) },
        logFile: join(stateDir, "logs", "prometheus.log"),
        dataDir,
        endsWithin: seconds(10),
        isHealthy: () => answersHttp({ url: `${url}/-/ready` }),
      },
    };
  },
};
