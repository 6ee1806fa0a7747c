import { readFile } from "node:fs/promises";
import { request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { connect } from "node:net";

/** The longest that one question about health takes; the next one is asked at once. */
const PROBE_MS = 2000;

export interface HttpProbe {
  readonly url: string;
  /** PEM file that the server's certificate must be in or come from. */
  readonly caFile?: string;
  readonly token?: string;
}

/** Whether a GET is answered with 200. */
export async function answersHttp({ url, caFile, token }: HttpProbe): Promise<boolean> {
  const ca = caFile === undefined ? undefined : await readFile(caFile);
  const options = {
    agent: false,
    timeout: PROBE_MS,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
  } as const;
  return new Promise((resolve, reject) => {
    const request = ca === undefined ? plainRequest(url, options) : tlsRequest(url, { ...options, ca });
    request.on("error", reject);
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("response", (response) => {
      response.resume();
      response.on("error", reject);
      response.on("end", () => resolve(response.statusCode === 200));
    });
    request.end();
  });
}

/** Whether Redis takes the password and answers PONG (RESP, inline commands). */
export function answersRedis({
  host,
  port,
  password,
}: {
  host: string;
  port: number;
  password: string;
}): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: PROBE_MS });
    let answer = "";
    const done = (isHealthy: boolean): void => {
      socket.destroy();
      resolve(isHealthy);
    };
    socket.on("error", reject);
    socket.on("timeout", () => done(false));
    socket.on("close", () => done(false));
    socket.on("connect", () => socket.write(`${password === "" ? "" : `AUTH ${password}\r\n`}PING\r\n`));
    socket.on("data", (bytes) => {
      answer += bytes.toString("latin1");
      if (/^\+PONG\r$/m.test(answer)) done(true);
      else if (answer.includes("-")) done(false);
    });
  });
}
