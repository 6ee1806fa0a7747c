import { Pool } from "undici";
import { loadConnection } from "../../src/kube/connection.ts";
import type { Json } from "../../src/lib/json.ts";

/** What the API server says to one request, in the words that kubectl would show. */
export interface Said {
  readonly code: number;
  /** Empty where it was taken. */
  readonly message: string;
  readonly object: Readonly<Record<string, Json>>;
}

export type Kind = "switchtasks" | "tenantstates";

export interface Target {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  readonly subresource?: "status";
}

export interface WriteOptions {
  /** Everything but storing. */
  readonly dryRun?: boolean;
}

/** Requests in a person's name. Strict, as kubectl's are: a field that nobody knows is refused, not dropped. */
export interface ApiPerson {
  create(where: Omit<Target, "name">, object: unknown, options?: WriteOptions): Promise<Said>;
  replace(target: Target, object: unknown, options?: WriteOptions): Promise<Said>;
  /** JSON merge patch. */
  patch(target: Target, patch: unknown): Promise<Said>;
  remove(target: Target): Promise<Said>;
}

export interface ApiPeople extends AsyncDisposable {
  /** The owner of the kubeconfig, or in somebody's name. */
  as(user?: string, groups?: readonly string[]): ApiPerson;
}

const CONNECTIONS = 4;

/** Straight to the API server: kubectl needs a process, and a tenth of a second, for every question. */
export async function openApiPeople(kubeconfig: string): Promise<ApiPeople> {
  const connection = loadConnection({ inCluster: false, kubeconfig });
  const { tls, headers } = await connection.read(false);
  const { ca, cert, key } = tls;
  const connect = { ca: ca ?? undefined, cert: cert ?? undefined, key: key ?? undefined };
  const pool = new Pool(connection.origin, { connections: CONNECTIONS, connect });
  return {
    as: (user, groups = []) =>
      person(
        pool,
        user === undefined ? headers : { ...headers, "impersonate-user": user, "impersonate-group": [...groups] },
      ),
    [Symbol.asyncDispose]: () => pool.close(),
  };
}

type Headers = Readonly<Record<string, string | string[]>>;

interface Question {
  readonly method: "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly contentType?: string;
  readonly body?: unknown;
}

function person(pool: Pool, headers: Headers): ApiPerson {
  const ask = async ({ method, path, query, contentType = "application/json", body }: Question): Promise<Said> => {
    const { statusCode, body: answer } = await pool.request({
      method,
      path,
      query: { fieldValidation: "Strict", ...query },
      headers: { ...headers, "content-type": contentType },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const object = (await answer.json()) as Said["object"] & { readonly message?: string };
    return { code: statusCode, message: statusCode < 300 ? "" : plain(object.message ?? ""), object };
  };
  return {
    create: ({ kind, namespace }, object, options) =>
      ask({ method: "POST", path: pathOf(kind, namespace), query: dry(options), body: object }),
    replace: (target, object, options) =>
      ask({ method: "PUT", path: pathTo(target), query: dry(options), body: object }),
    patch: (target, patch) =>
      ask({ method: "PATCH", path: pathTo(target), contentType: "application/merge-patch+json", body: patch }),
    remove: (target) => ask({ method: "DELETE", path: pathTo(target) }),
  };
}

const dry = ({ dryRun = false }: WriteOptions = {}): Readonly<Record<string, string>> =>
  dryRun ? { dryRun: "All" } : {};
const pathOf = (kind: Kind, namespace: string): string => `/apis/turnout.dev/v1alpha1/namespaces/${namespace}/${kind}`;
const pathTo = ({ kind, namespace, name, subresource }: Target): string =>
  [pathOf(kind, namespace), name, ...(subresource === undefined ? [] : [subresource])].join("/");

/** What the API server adds to every message about shape says nothing. */
const NOISE =
  ", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/** A refusal without what stands before the first word that helps. */
export function plain(message: string): string {
  const said = message
    .replace(/^\S+ "[^"]*" is invalid: /, "")
    .replace(/^.* denied request: /, "")
    .replace(/^.*strict decoding error: /, "")
    .replace(NOISE, "");
  return said.startsWith("[") && said.endsWith("]") ? said.slice(1, -1) : said;
}
