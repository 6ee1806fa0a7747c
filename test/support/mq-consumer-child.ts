import { once } from "node:events";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { millisOf } from "../../src/lib/time.ts";
import { openMq } from "../../src/infra/mq/open-mq.ts";
import { jsonCodec } from "../../src/infra/mq/codec.ts";
import { mqSettingsFor } from "./mq-rig.ts";

// A consumer that can be killed: prints each value that it has handled, one per line. Arguments: brokers, topic.
const [brokers = "", topic = ""] = process.argv.slice(2);
const mq = await openMq(mqSettingsFor(brokers), {
  clock: systemClock,
  rng: systemRng,
  service: "im-child",
  instance: "im-child-0",
  secret: () => Promise.resolve(""),
  tls: null,
});
await mq.subscribe({ name: topic, codec: jsonCodec((value) => value) }, async ({ value }) => {
  await systemClock.sleep(millisOf(2));
  process.stdout.write(`${JSON.stringify(value)}\n`);
});
process.stdout.write("joined\n");
await once(process, "SIGTERM");
await mq.close();
