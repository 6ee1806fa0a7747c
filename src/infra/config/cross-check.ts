import { parseAddress } from "../../lib/address.ts";
import { type Cidr, contains, isWithin, parseCidr } from "../../lib/ip.ts";
import type { Json, JsonObject } from "../../lib/json.ts";
import { parseDuration } from "../../lib/time.ts";
import type { Problem } from "./problems.ts";

/**
 * What no single field shows. Looks at the document as it came, so that it reports beside the problems of fields; a part that
 * is itself malformed is left to its own schema.
 */
export function crossCheck(raw: JsonObject): readonly Problem[] {
  const operator = objectAt(raw, "operator");
  const endpoints = listAt(raw, "endpoints");
  const ceiling = objectAt(operator, "ceiling");
  return [
    ...timeouts(objectAt(operator, "defaults")),
    ...sameNames(endpoints),
    ...endpoints.flatMap((endpoint, i) => {
      const at = `endpoints[${i}]`;
      return [
        ...openCredentials(endpoint, at),
        ...addresses(endpoint, at),
        ...beyond(endpoint, ceiling, at),
        ...files(endpoint, ceiling, at),
      ];
    }),
  ];
}

/** SEC-25: what holds a credential says what it may be used for. */
function openCredentials(endpoint: JsonObject, at: string): Problem[] {
  if (endpoint.credentials === undefined || endpoint.allow !== undefined) return [];
  return [
    {
      path: `${at}.allow`,
      value: "",
      message: "is missing although the endpoint has credentials",
      allowed: "what the credential may be used for",
    },
  ];
}

function sameNames(endpoints: readonly JsonObject[]): Problem[] {
  const seen = new Set<Json>();
  return endpoints.flatMap(({ name }, i) => {
    if (typeof name !== "string") return [];
    if (!seen.has(name)) {
      seen.add(name);
      return [];
    }
    return [
      { path: `endpoints[${i}].name`, value: JSON.stringify(name), message: "stands twice", allowed: "each name once" },
    ];
  });
}

function addresses(endpoint: JsonObject, at: string): Problem[] {
  const blocks = blocksAt(endpoint, "cidrs");
  const ports = numbersAt(endpoint, "ports");
  return textsAt(endpoint, "addresses").flatMap((text, i) => {
    const found = parseAddress(text);
    if (found === null) return [];
    const { host, port } = found;
    const outside = host.kind === "ip" && blocks.length > 0 && !blocks.some((block) => contains(block, host.ip));
    const shut = ports.length > 0 && !ports.includes(port);
    if (!outside && !shut) return [];
    return [
      {
        path: `${at}.addresses[${i}]`,
        value: JSON.stringify(text),
        message: `lies outside the endpoint's ${outside ? "cidrs" : "ports"}`,
        allowed: "an address within cidrs and ports",
      },
    ];
  });
}

/** SEC-45. */
function beyond(endpoint: JsonObject, ceiling: JsonObject, at: string): Problem[] {
  const [blocks, ports] = [blocksAt(ceiling, "cidrs"), numbersAt(ceiling, "ports")];
  const message = "lies beyond the operator's ceiling";
  const wide = textsAt(endpoint, "cidrs").flatMap((text, i) => {
    const block = parseCidr(text);
    if (block === null || !Array.isArray(ceiling.cidrs) || blocks.some((outer) => isWithin(block, outer))) return [];
    return [
      {
        path: `${at}.cidrs[${i}]`,
        value: JSON.stringify(text),
        message,
        allowed: textsAt(ceiling, "cidrs").join(", "),
      },
    ];
  });
  const shut = numbersAt(endpoint, "ports").flatMap((port, i) =>
    !Array.isArray(ceiling.ports) || ports.includes(port)
      ? []
      : [{ path: `${at}.ports[${i}]`, value: String(port), message, allowed: ports.join(", ") }],
  );
  return [...wide, ...shut];
}

function files(endpoint: JsonObject, ceiling: JsonObject, at: string): Problem[] {
  // Without any ceiling there is none to judge by; that it is missing is a problem of its own.
  if (Object.keys(ceiling).length === 0) return [];
  const roots = textsAt(ceiling, "secretRoots");
  return ["credentials", "tls"].flatMap((part) =>
    Object.entries(objectAt(endpoint, part)).flatMap(([name, reference]) => {
      const file = isObject(reference) ? reference.file : undefined;
      if (typeof file !== "string") return [];
      const under = roots.some((root) => file.startsWith(`${root}/`));
      if (under) return [];
      const allowed = roots.length === 0 ? "none: ceiling.secretRoots is empty" : `a file under ${roots.join(" or ")}`;
      return [{ path: `${at}.${part}.${name}.file`, value: "", message: "lies under no secret root", allowed }];
    }),
  );
}

/** A shorter bound inside a longer one; the other way round the inner one could never be met. */
function timeouts(defaults: JsonObject): Problem[] {
  const read = (name: string, fallback: string): number => {
    const text = defaults[name];
    return parseDuration(typeof text === "string" ? text : fallback) ?? Number.NaN;
  };
  const [instance, attempt, stage] = [
    read("instanceTimeout", "3s"),
    read("attemptTimeout", "15s"),
    read("timeout", "5m"),
  ];
  const problems: Problem[] = [];
  const say = (name: string, outer: string): void => {
    problems.push({
      path: `operator.defaults.${name}`,
      value: JSON.stringify(defaults[name] ?? "its default"),
      message: `is longer than ${outer}`,
      allowed: `at most ${outer}`,
    });
  };
  if (instance > attempt) say("instanceTimeout", "attemptTimeout");
  if (attempt > stage) say("attemptTimeout", "timeout");
  return problems;
}

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const objectAt = (holder: JsonObject, key: string): JsonObject => {
  const value = holder[key];
  return isObject(value) ? value : {};
};
const itemsAt = (holder: JsonObject, key: string): readonly Json[] => {
  const value = holder[key];
  return Array.isArray(value) ? value : [];
};
const listAt = (holder: JsonObject, key: string): readonly JsonObject[] =>
  itemsAt(holder, key).map((item) => (isObject(item) ? item : {}));
const textsAt = (holder: JsonObject, key: string): readonly string[] =>
  itemsAt(holder, key).filter((item) => typeof item === "string");
const numbersAt = (holder: JsonObject, key: string): readonly number[] =>
  itemsAt(holder, key).filter((item) => typeof item === "number");
const blocksAt = (holder: JsonObject, key: string): readonly Cidr[] =>
  textsAt(holder, key).flatMap((text) => parseCidr(text) ?? []);
