import { controlPlaneBinary } from "./control-plane.ts";
import { etcdServer } from "./etcd.ts";
import type { ExtraServer } from "./extra.ts";
import { answersHttp } from "./probe.ts";
import { PROBLEM } from "./problem.ts";

/** Names a running etcd to use instead: `http://HOST:PORT,…`. */
const VARIABLE = "TURNOUT_LOCAL_COORD_ENDPOINTS";

/** The configuration centre: an etcd apart from the control plane's, which nobody but the API server may write to. */
export const etcdCentre: ExtraServer = {
  fetch: (machine) => controlPlaneBinary("etcd", machine),
  async prepare({ stateDir, env, port }, machine) {
    const named = machine.variables[VARIABLE];
    if (named) {
      for (const url of named.split(",")) {
        const answers = await answersHttp({ url: `${url}/health` }).catch(() => false);
        if (!answers) throw PROBLEM.namedSilent({ variable: VARIABLE, address: url });
      }
      return { spec: null, env: { COORD_ENDPOINTS: named } };
    }
    const file = await controlPlaneBinary("etcd", machine);
    const spec = etcdServer({ name: "etcd-centre", stateDir, file, port: await port(), env });
    return { spec, env: { COORD_ENDPOINTS: `http://${spec.address}` } };
  },
};
