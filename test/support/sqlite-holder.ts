// A process that holds a receiver's SQLite file until it is killed: test/contract/receiver.stores.test.ts.
import { openSqliteStore } from "../../src/receiver/sqlite-store.ts";
import { aRecord, TENANT } from "./receiver-build.ts";

const store = openSqliteStore(process.argv[2] ?? "");
await store.save(TENANT, aRecord({ revision: 1 }));
process.send?.("holding");
process.once("disconnect", () => process.exit(0));
