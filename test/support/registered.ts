import { millisOf } from "../../src/lib/time.ts";
import { coordAt } from "./coord-rig.ts";

// A process that is registered until somebody kills it.

const [, , etcd = "", service = "", ttl = ""] = process.argv;
const coord = coordAt({ endpoints: [etcd] });
await coord.register({ service, id: "child", address: "127.0.0.1:1", labels: {} }, millisOf(Number(ttl)));
