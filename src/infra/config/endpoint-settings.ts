import { z } from "zod";
import { RECORD_PREFIX } from "../../lib/companion-key.ts";
import { address, block, type DeepReadonly, hostName, label, port, secretReference } from "./setting-fields.ts";

/** How a connection is secured, for named endpoints and for the servers of the kit alike. */
export const tls = z
  .union([
    z.literal("None"),
    z
      .strictObject({
        ca: secretReference.optional().describe("PEM of the authorities trusted for this endpoint alone."),
        serverName: hostName.optional().describe("Name or IP that the certificate must carry, if not the host's."),
        cert: secretReference.optional().describe("PEM of our own certificate."),
        key: secretReference.optional().describe("PEM of the key to it."),
      })
      .refine((it) => (it.cert === undefined) === (it.key === undefined), { error: "needs cert and key together" }),
  ])
  .meta({ allowed: '"None", or an object of ca, serverName, cert and key, all of them optional' })
  .describe("How the connection is secured; chain and name are always verified. None sends in the clear.");
export type TlsSettings = DeepReadonly<z.output<typeof tls>>;

const bearer = z
  .strictObject({ bearer: secretReference.describe("Token sent as Authorization: Bearer.") })
  .optional()
  .describe("Credential of this endpoint alone. Demands allow.");

const password = z
  .strictObject({
    username: secretReference.optional().describe("Name to log in with; left out, the server's default user."),
    password: secretReference.describe("Password to log in with."),
  })
  .optional()
  .describe("Credential of this endpoint alone. Demands allow.");

const fencing = z
  .enum(["Token", "None"])
  .describe("Token: the other side checks our fence. None: it does not, so each switch waits for stragglers.");

const common = {
  name: label.describe("What stages call it."),
  addresses: z
    .array(address)
    .max(256)
    .prefault([])
    .describe("host:port of each instance; used where a stage names none with to."),
  tls,
  allowedNamespaces: z.array(label).min(1).max(1024).describe("Namespaces whose tasks may use the endpoint."),
  cidrs: z
    .array(block)
    .min(1)
    .max(256)
    .describe("Blocks that every resolved address must lie in. 0.0.0.0/0 opens no private or loopback range."),
  ports: z.array(port).min(1).max(256).describe("Ports that may be called."),
};

const texts = (what: string): z.ZodArray<z.ZodString> =>
  z.array(z.string().min(1).max(512)).min(1).max(64).describe(what);

const pathPrefix = z
  .string()
  .max(512)
  .regex(/^\/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]+\/)*[A-Za-z0-9._~!$&'()*+,;=:@-]*$/, {
    error: "is not a plain path prefix that begins with /",
  })
  .refine((path) => !/(?:^|\/)\.{1,2}(?:\/|$)/.test(path), { error: "has a dot segment" });

const requests = z
  .strictObject({
    methods: z
      .array(z.enum(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]))
      .min(1)
      .describe("Methods that may be used."),
    paths: z
      .array(pathPrefix)
      .min(1)
      .max(64)
      .describe("Path prefixes that may be called, whole segments: /a/ means everything below /a, /a also /a itself."),
  })
  .optional()
  .describe("Requests that may be made; left out, any.");

const keys = z
  .strictObject({
    keys: z
      .array(
        z
          .string()
          .min(1)
          .max(256)
          .refine((prefix) => !prefix.startsWith(RECORD_PREFIX), {
            error: `begins with the reserved ${RECORD_PREFIX}`,
          }),
      )
      .min(1)
      .max(64)
      .describe(`Prefixes of keys and streams that may be written. ${RECORD_PREFIX} is never opened.`),
  })
  .optional()
  .describe("Keys that may be touched; left out, any but the reserved ones.");

const callable = { ...common, fencing, credentials: bearer, allow: requests };
const stored = { ...common, credentials: password };

/** One schema per protocol; `protocol` chooses. */
export const ENDPOINTS = {
  http: z.strictObject({ ...callable, protocol: z.literal("http") }),
  extension: z.strictObject({ ...callable, protocol: z.literal("extension") }),
  prometheus: z.strictObject({ ...common, protocol: z.literal("prometheus"), credentials: bearer, allow: requests }),
  grpc: z.strictObject({
    ...common,
    protocol: z.literal("grpc"),
    fencing,
    credentials: bearer,
    allow: z
      .strictObject({ services: texts("Full names of services or methods that may be called.") })
      .optional()
      .describe("Methods that may be called; left out, any."),
  }),
  redis: z.strictObject({ ...stored, protocol: z.literal("redis"), allow: keys }),
  etcd: z.strictObject({
    ...stored,
    protocol: z.literal("etcd"),
    allow: z
      .strictObject({ services: texts("Services whose tenant values may be written.") })
      .optional()
      .describe("Services that may be configured; left out, any but turnout."),
  }),
  kafka: z.strictObject({
    ...stored,
    protocol: z.literal("kafka"),
    fencing,
    allow: z
      .strictObject({ topics: texts("Topics that may be written.") })
      .optional()
      .describe("Topics that may be written; left out, any."),
  }),
} as const;

export type Protocol = keyof typeof ENDPOINTS;
type Endpoint<P extends Protocol> = DeepReadonly<z.output<(typeof ENDPOINTS)[P]>>;

/** A named endpoint: the policy of every byte that leaves under its name. */
export type EndpointSettings = { readonly [P in Protocol]: Endpoint<P> }[Protocol];
export type HttpEndpoint = Endpoint<"http">;
export type RedisEndpoint = Endpoint<"redis">;

type AnyEndpoint = (typeof ENDPOINTS)[Protocol];
/** What `turnout/endpoints` holds. */
export const endpointsSettings = z
  .array(z.discriminatedUnion("protocol", Object.values(ENDPOINTS) as [AnyEndpoint, ...AnyEndpoint[]]))
  .max(1024);

export const isProtocol = (text: unknown): text is Protocol =>
  typeof text === "string" && Object.hasOwn(ENDPOINTS, text);
