import type { z } from "zod";
import { cacheSettings } from "./cache-settings.ts";
import { clogSettings } from "./clog-settings.ts";
import { coordSettings } from "./coord-settings.ts";
import { dbSettings } from "./db-settings.ts";
import { endpointsSettings } from "./endpoint-settings.ts";
import { metricsSettings } from "./metrics-settings.ts";
import { mqSettings } from "./mq-settings.ts";
import type { DeepReadonly } from "./setting-fields.ts";
import { operatorSettings } from "./settings.ts";
import { GLOBAL, type Layer, type Service, SERVICES } from "./services.ts";

export interface Component<S extends z.ZodType = z.ZodType> {
  readonly schema: S;
  /** One sentence for people. */
  readonly about: string;
  readonly services: readonly Service[];
  /** Whether `{env}/global/{component}` may lie below the services' own. */
  readonly shared: boolean;
  /** Paths whose change takes force at once; all others need a restart of the service. */
  readonly reloadable: readonly string[];
  /** Paths that files may set and the configuration centre may not (SEC-45). */
  readonly filesOnly: readonly string[];
}

const kit = { shared: true, filesOnly: [] } as const;
const own = { services: ["turnout"], shared: false } as const;
/** The operator has its log and its numbers in its own component: `operator.log`, `operator.listen`. */
const kitServices = ["im-repo", "im-logic", "im-gateway", "im-task"] as const satisfies readonly Service[];

/** Every component once: types, validation, templates, reference page and what the tree may hold come from here. */
export const COMPONENTS = {
  clog: { ...kit, schema: clogSettings, about: "The log of a process.", services: kitServices, reloadable: ["level"] },
  coord: {
    ...kit,
    schema: coordSettings,
    about: "etcd: configuration centre, registry of services, locks.",
    services: SERVICES,
    reloadable: ["timeout", "retry", "healthCheckInterval"],
  },
  metrics: {
    ...kit,
    schema: metricsSettings,
    about: "Metrics and traces.",
    services: kitServices,
    reloadable: ["slowRequestThreshold", "samplerType", "samplerRatio"],
  },
  cache: {
    ...kit,
    schema: cacheSettings,
    about: "Redis as a cache.",
    services: ["im-repo", "im-task"],
    reloadable: [
      "poolSize",
      "minIdleConns",
      "maxIdleConns",
      "connMaxIdleTime",
      "connMaxLifetime",
      "poolTimeout",
      "compression",
      "defaultTtl",
      "ttlJitter",
      "local",
      "slowThreshold",
    ],
  },
  db: {
    ...kit,
    schema: dbSettings,
    about: "MySQL, MariaDB or SQLite.",
    services: ["im-repo"],
    reloadable: [
      "maxOpenConns",
      "maxIdleConns",
      "connMaxIdleTime",
      "connMaxLifetime",
      "poolTimeout",
      "queryTimeout",
      "logLevel",
      "slowThreshold",
    ],
  },
  mq: {
    ...kit,
    schema: mqSettings,
    about: "Kafka.",
    services: kitServices,
    reloadable: ["consumer.maxPollRecords", "consumer.maxRetries", "consumer.retryBackoff"],
  },
  operator: {
    ...own,
    schema: operatorSettings,
    about: "The operator's own settings.",
    reloadable: ["log", "limits", "defaults"],
    filesOnly: ["ceiling"],
  },
  endpoints: {
    ...own,
    schema: endpointsSettings,
    about: "Named endpoints: everything that stages may reach, and what for.",
    reloadable: [""],
    filesOnly: [],
  },
} as const satisfies Readonly<Record<string, Component>>;

export type ComponentName = keyof typeof COMPONENTS;
export type SettingsOf<C extends ComponentName> = DeepReadonly<z.output<(typeof COMPONENTS)[C]["schema"]>>;

export const COMPONENT_NAMES = Object.keys(COMPONENTS) as readonly ComponentName[];
export const isComponent = (text: string): text is ComponentName => Object.hasOwn(COMPONENTS, text);

export const componentOf = (name: ComponentName): Component => COMPONENTS[name];

/** Whether the tree may hold the component in this layer. */
export function hasComponent(layer: Layer, name: ComponentName): boolean {
  const { services, shared } = componentOf(name);
  return layer === GLOBAL ? shared : services.includes(layer);
}

export const componentsOf = (layer: Layer): readonly ComponentName[] =>
  COMPONENT_NAMES.filter((name) => hasComponent(layer, name));

/** Whether a change of the path, such as `retry.maxRetries`, takes force without a restart. */
export function isReloadable(name: ComponentName, path: string): boolean {
  return componentOf(name).reloadable.some((known) => lies(path, known));
}

/** Whether `path` is `above` or lies in it. */
export const lies = (path: string, above: string): boolean =>
  above === "" || path === above || path.startsWith(`${above}.`) || path.startsWith(`${above}[`);
