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

interface Talk {
  readonly host: string;
  readonly port: number;
  /** Sent as soon as the connection stands. */
  readonly say: string | Buffer;
  /** What all that came so far means; null: more has to come. */
  readonly judge: (answer: Buffer) => boolean | null;
}

/** More than any of these answers has. */
const MOST_ANSWER = 64 * 1024;

/** Says one thing to a server and judges what it answers. */
function talk({ host, port, say, judge }: Talk): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: PROBE_MS });
    let answer = Buffer.alloc(0);
    const done = (isHealthy: boolean): void => {
      socket.destroy();
      resolve(isHealthy);
    };
    socket.on("error", reject);
    socket.on("timeout", () => done(false));
    socket.on("close", () => done(false));
    socket.on("connect", () => socket.write(say));
    socket.on("data", (bytes) => {
      answer = Buffer.concat([answer, bytes]);
      const verdict = answer.length > MOST_ANSWER ? false : judge(answer);
      if (verdict !== null) done(verdict);
    });
  });
}

interface At {
  readonly host: string;
  readonly port: number;
}

/** Whether Redis takes the password and answers PONG (RESP, inline commands). */
export function answersRedis({ host, port, password }: At & { readonly password: string }): Promise<boolean> {
  const say = `${password === "" ? "" : `AUTH ${password}\r\n`}PING\r\n`;
  const judge = (answer: Buffer): boolean | null => {
    const text = answer.toString("latin1");
    if (/^\+PONG\r$/m.test(text)) return true;
    return text.includes("-") ? false : null;
  };
  return talk({ host, port, say, judge });
}

/** The server speaks first: a handshake (protocol 10), or an error packet (0xff). MySQL internals, "Protocol::Handshake". */
export function answersMysql(at: At): Promise<boolean> {
  return talk({ ...at, say: "", judge: (answer) => (answer.length < 5 ? null : answer[4] === 10) });
}

/** Metadata request, version 1, for no topic (Kafka protocol guide): an answer that names a broker. */
export function answersKafka(at: At): Promise<boolean> {
  const request = Buffer.alloc(18);
  request.writeInt32BE(14, 0);
  request.writeInt16BE(3, 4);
  request.writeInt16BE(1, 6);
  request.writeInt32BE(1, 8);
  request.writeInt16BE(-1, 12);
  request.writeInt32BE(0, 14);
  return talk({ ...at, say: request, judge: (answer) => (answer.length < 12 ? null : answer.readInt32BE(8) > 0) });
}
