import { gzipSync } from "node:zlib";
import type { Answer, Exchange, Fault, Told } from "./http-proxy.ts";

// What may go wrong with one HTTP exchange (docs/testing.md, fault proxy). The request reaches the server unless a name says otherwise.

/** Never reaches the server; this is said instead. */
export const instead =
  (answer: Answer): Fault =>
  (exchange) =>
    exchange.answer(answer);

const JSON_TYPE = { "content-type": "application/json" } as const;

/** As kube-apiserver says it, without the request having been carried out. */
export const kubeStatus = (
  code: number,
  reason: string,
  { message = reason, headers = {}, details = {} } = {},
): Fault =>
  instead({
    status: code,
    headers: { ...JSON_TYPE, ...headers },
    body: JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message, details }),
  });

/** Carried out, and nobody is told. */
export const loseAnswer: Fault = async ({ pass, cut }) => {
  await pass();
  cut();
};

/** Neither carried out nor answered. */
export const loseRequest: Fault = ({ cut }) => cut();

/** Carried out twice; the second answer is the one that is told. */
export const twice: Fault = async ({ pass, answer }) => {
  await pass();
  answer(await pass());
};

export const redirect =
  (to: string): Fault =>
  ({ answer }) =>
    answer({ status: 307, headers: { location: to } });

/** Carried out; the answer ends in the middle of its body. */
export const cutBody: Fault = async ({ pass, response, cut }) => {
  const { status, headers, body } = await pass();
  response.writeHead(status, { ...headers, "content-length": body.length });
  response.write(body.subarray(0, Math.floor(body.length / 2)), () => cut());
};

/** Carried out; the answer's body never ends. */
export const endlessBody: Fault = async ({ pass, response }) => {
  const { status, headers } = await pass();
  response.writeHead(status, headers);
  const chunk = Buffer.alloc(64 * 1024, " ");
  const pump = (): void => {
    while (!response.destroyed && response.write(chunk));
    if (!response.destroyed) response.once("drain", pump);
  };
  pump();
};

/** Carried out; this stands where its answer should. */
export const bodyOf =
  (body: Buffer | string, headers: Readonly<Record<string, string>> = JSON_TYPE): Fault =>
  async ({ pass, answer }) => {
    const { status } = await pass();
    answer({ status, headers, body });
  };

/** Carried out, answered after `milliseconds`. */
export const slow =
  (milliseconds: number): Fault =>
  async ({ pass, answer }) => {
    const given = await pass();
    setTimeout(() => answer(given), milliseconds);
  };

export const NOT_UTF8 = bodyOf(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]));
export const DEEP = bodyOf(`${"[".repeat(20_000)}${"]".repeat(20_000)}`);
export const POISONED = bodyOf('{"__proto__":{"phase":"Completed"},"metadata":{"name":"x"}}');
export const PAGE = bodyOf("<html>all is well</html>", { "content-type": "text/html" });
export const BOMB = bodyOf(gzipSync(Buffer.alloc(8 * 1024 * 1024, " ")), { ...JSON_TYPE, "content-encoding": "gzip" });

/** A request that is kept on its way, the connection of whoever sent it being cut, until it is delivered. */
export interface Late {
  readonly fault: Fault;
  /** Resolves when one was caught. */
  readonly caught: Promise<void>;
  /** Passes it on; the server's answer, which nobody else sees. */
  deliver(): Promise<Told>;
}

export function late(): Late {
  const caught = Promise.withResolvers<Exchange>();
  return {
    fault: (exchange) => {
      caught.resolve(exchange);
      exchange.cut();
    },
    caught: caught.promise.then(() => undefined),
    deliver: async () => (await caught.promise).pass(),
  };
}
