import { openLog } from "../../src/infra/clog/log.ts";
import { type MqSettings, mqSettings } from "../../src/infra/config/mq-settings.ts";
import { openMetrics } from "../../src/infra/metrics/metrics.ts";
import { passingTracer, type Tracer } from "../../src/infra/metrics/tracer.ts";
import { jsonCodec } from "../../src/infra/mq/codec.ts";
import type { Mq, MqDeps, Topic } from "../../src/infra/mq/mq.ts";
import { openMq } from "../../src/infra/mq/open-mq.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import type { Json } from "../../src/lib/json.ts";

/** As the file would say it. */
export type AskedSettings = Readonly<Record<string, unknown>> & {
  readonly producer?: Readonly<Record<string, unknown>>;
  readonly consumer?: Readonly<Record<string, unknown>>;
};

/** As in production, but quick to miss a member and to try again. */
export function mqSettingsFor(brokers: string, about: AskedSettings = {}): MqSettings {
  const { producer = {}, consumer = {}, ...rest } = about;
  return mqSettings.parse({
    brokers: brokers.split(","),
    requestTimeout: "5s",
    dialTimeout: "1s",
    ...rest,
    producer,
    consumer: {
      sessionTimeout: "3s",
      heartbeat: "300ms",
      fetchWait: "50ms",
      maxRetries: 2,
      retryBackoff: { min: "1ms", max: "20ms" },
      ...consumer,
    },
  });
}

/** Ids go on, and nobody makes spans of them. */
export const tracer: Tracer = passingTracer(systemRng, (_traceId, work) => work());

export interface MqRig extends AsyncDisposable {
  readonly lines: readonly string[];
  readonly metrics: () => Promise<string>;
  open(about?: AskedSettings, deps?: Partial<MqDeps>): Promise<Mq>;
}

export function openMqRig(brokers: string): MqRig {
  const opened = new AsyncDisposableStack();
  const lines: string[] = [];
  const metrics = openMetrics();
  const log = openLog({ level: "debug", clock: systemClock, destination: { write: (line) => lines.push(line) } });
  let instances = 0;
  return {
    lines,
    metrics: () => metrics.text(),
    open: async (about = {}, deps = {}) => {
      instances += 1;
      const common: MqDeps = {
        clock: systemClock,
        rng: systemRng,
        service: "im-test",
        instance: `im-test-${instances}`,
        secret: () => Promise.resolve(""),
        tls: null,
        log,
        metrics,
        tracer,
      };
      return opened.use(await openMq(mqSettingsFor(brokers, about), { ...common, ...deps }));
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

let made = 0;
/** A topic of one test's own. */
export async function aTopic(mq: Mq, partitions = 1): Promise<Topic<Json>> {
  made += 1;
  const name = `t-${process.pid}-${Date.now() % 1_000_000}-${made}`;
  await mq.topics.create([{ name, partitions, replicas: 1 }]);
  return { name, codec: jsonCodec((value) => value) };
}
