import { parseArgs } from "node:util";
import { millisOf } from "../../src/lib/time.ts";
import { systemClock } from "../../src/kube/clock.ts";
import { coordAt } from "./coord-rig.ts";

// A process that takes a lock again and again and uses it: each step is told to the store of the test, and answered by it.

const { values } = parseArgs({
  options: {
    etcd: { type: "string", default: "" },
    store: { type: "string", default: "" },
    name: { type: "string", default: "" },
    who: { type: "string", default: "" },
    ttl: { type: "string", default: "1000" },
  },
});

async function tell(what: string, fence: number): Promise<void> {
  const response = await fetch(values.store, {
    method: "POST",
    body: JSON.stringify({ who: values.who, what, fence }),
  });
  await response.arrayBuffer();
}

const coord = coordAt({ endpoints: [values.etcd], timeout: millisOf(1500) });
const never = new AbortController().signal;
for (;;) {
  try {
    const lock = await coord.acquire(values.name, millisOf(Number(values.ttl)), never);
    lock.lost.addEventListener("abort", () => void tell("lost", lock.fence).catch(() => undefined), { once: true });
    await tell("taken", lock.fence);
    for (let use = 0; use < 20 && lock.held(); use += 1) {
      await tell("use", lock.fence);
      await systemClock.sleep(millisOf(10));
    }
    await lock.release();
  } catch {
    await systemClock.sleep(millisOf(50));
  }
}
