export const ENVIRONMENTS = ["dev", "test", "prod"] as const;
export type Environment = (typeof ENVIRONMENTS)[number];

/** Who reads configuration. */
export const SERVICES = ["im-repo", "im-logic", "im-gateway", "im-task", "turnout"] as const;
export type Service = (typeof SERVICES)[number];

/** In place of a service: what every service of the environment starts from. */
export const GLOBAL = "global";
export type Layer = Service | typeof GLOBAL;

export const LAYERS: readonly Layer[] = [GLOBAL, ...SERVICES];

export const isEnvironment = (text: string): text is Environment => ENVIRONMENTS.some((known) => known === text);
export const isService = (text: string): text is Service => SERVICES.some((known) => known === text);
export const isLayer = (text: string): text is Layer => text === GLOBAL || isService(text);
