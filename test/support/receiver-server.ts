import { createServer, type IncomingMessage, type Server } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { sendTo } from "../../src/cli/conformance-send.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { jsonOf } from "../../src/receiver/conformance-play.ts";
import { openMemoryStore } from "../../src/receiver/memory-store.ts";
import {
  createReceiver,
  type Receiver,
  type ReceiverEvent,
  type ReceiverOptions,
} from "../../src/receiver/receiver.ts";
import { ManualClock } from "./manual-clock.ts";
import { aConfiguration, fenceOf, TENANT } from "./receiver-build.ts";

export interface Said {
  readonly status: number;
  readonly code: unknown;
  readonly body: unknown;
}

interface Put {
  readonly seq: number;
  readonly opId?: string;
  readonly tenant?: string;
  readonly version?: number;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The receiver in this process, on a clock that moves only when told, and a service whose operations end only when told. */
export interface ReceiverRig extends AsyncDisposable {
  readonly receiver: Receiver;
  readonly clock: ManualClock;
  readonly events: readonly ReceiverEvent[];
  /** Operations that `apply` was called for, by opId; each waits for {@link end}. */
  readonly applying: ReadonlyMap<string, AbortSignal>;
  readonly applied: readonly string[];
  end(opId: string, how?: Error): void;
  put(put: Put): Promise<Said>;
  get(tenant?: string): Promise<Said>;
  /** A connection that sends what it is told. */
  raw(): Socket;
  readonly requests: readonly IncomingMessage[];
}

type Over = Partial<Pick<ReceiverOptions, "limits" | "store" | "report" | "authenticate">> & {
  readonly holds?: boolean;
};

export const TOKEN = "0123456789abcdef0123456789abcdef";

export async function openReceiverRig({ holds = false, ...over }: Over = {}): Promise<ReceiverRig> {
  const clock = new ManualClock();
  const events: ReceiverEvent[] = [];
  const applying = new Map<string, AbortSignal>();
  const applied: string[] = [];
  const ends = new Map<string, PromiseWithResolvers<void>>();
  const requests: IncomingMessage[] = [];
  const receiver = createReceiver({
    store: openMemoryStore(),
    forgetsFences: true,
    clock,
    authenticate: ({ headers }) => headers.authorization === `Bearer ${TOKEN}`,
    report: (event) => events.push(event),
    apply: async (_configuration, { opId, signal }) => {
      if (holds) {
        const end = Promise.withResolvers<void>();
        ends.set(opId, end);
        applying.set(opId, signal);
        await end.promise.finally(() => applying.delete(opId));
      }
      applied.push(opId);
    },
    ...over,
  });
  const server: Server = createServer((request, response) => {
    requests.push(request);
    receiver(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const sockets = new Set<Socket>();
  const send = async (method: string, tenant: string, { token = TOKEN, ...put }: Partial<Put> = {}): Promise<Said> => {
    const { seq = 5, opId = `op${seq}`, version = seq, headers = {} } = put;
    const answer = await sendTo(
      { origin: `http://127.0.0.1:${port}`, token },
      {
        method,
        path: `/turnout/v1/tenants/${tenant}`,
        as: "known",
        headers: {
          "turnout-tenant": tenant,
          "turnout-fence": fenceOf(seq),
          "turnout-base": fenceOf(seq - 1),
          "idempotency-key": opId,
          "content-type": "application/json",
          ...headers,
        },
        body: new TextEncoder().encode(JSON.stringify(aConfiguration(version))),
      },
    );
    const body = jsonOf(answer);
    return { status: answer.status, code: at(body, "/code"), body };
  };
  return {
    receiver,
    clock,
    events,
    applying,
    applied,
    requests,
    end: (opId, how) => (how === undefined ? ends.get(opId)?.resolve() : ends.get(opId)?.reject(how)),
    put: ({ tenant = TENANT, ...put }) => send("PUT", tenant, put),
    get: (tenant = TENANT) => send("GET", tenant),
    raw: () => {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => undefined);
      sockets.add(socket);
      return socket;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
