import {
  Client,
  type ClientOptions,
  credentials,
  Metadata,
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerInterceptor,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  status,
} from "@grpc/grpc-js";

const bytes = (value: Buffer): Buffer => value;
const CODING = {
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
};
export const SAY = "/test.Echo/Say";
export const COUNT = "/test.Echo/Count";

export interface Echo extends AsyncDisposable {
  readonly address: string;
}

/** Answers with what it is sent; `fail` is refused, `hang` is never answered. Count streams three messages. */
export async function openEcho(
  interceptors: readonly ServerInterceptor[],
  onCall: (text: string, metadata: Metadata) => unknown = () => undefined,
): Promise<Echo> {
  const server = new Server({ interceptors: [...interceptors] });
  const say = async (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>): Promise<void> => {
    const text = call.request.toString();
    await onCall(text, call.metadata);
    if (text === "hang") return;
    if (text === "fail") done({ code: status.FAILED_PRECONDITION, details: "refused" });
    else done(null, call.request);
  };
  const count = async (call: ServerWritableStream<Buffer, Buffer>): Promise<void> => {
    await onCall("count", call.metadata);
    for (const part of ["1", "2", "3"]) call.write(Buffer.from(part));
    call.end();
  };
  server.addService(
    {
      say: { path: SAY, requestStream: false, responseStream: false, ...CODING },
      count: { path: COUNT, requestStream: false, responseStream: true, ...CODING },
    },
    {
      say: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => void say(call, done),
      count: (call: ServerWritableStream<Buffer, Buffer>) => void count(call),
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  return { address: `127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => server.forceShutdown() };
}

export interface EchoClient extends Disposable {
  /** The answer, or the name of the status. */
  say(
    text: string,
    about?: { readonly path?: string; readonly patience?: number; readonly metadata?: Metadata },
  ): Promise<string>;
  count(): Promise<string>;
}

export function echoClient({ address }: Echo, options: ClientOptions = {}): EchoClient {
  const client = new Client(address, credentials.createInsecure(), options);
  const nameOf = ({ code }: ServiceError): string => status[code];
  return {
    say: (text, { path = SAY, patience = 5000, metadata = new Metadata() } = {}) =>
      new Promise((resolve) => {
        const deadline = Date.now() + patience;
        client.makeUnaryRequest(path, bytes, bytes, Buffer.from(text), metadata, { deadline }, (error, value) =>
          resolve(error === null ? String(value) : nameOf(error)),
        );
      }),
    count: () =>
      new Promise((resolve) => {
        const parts: string[] = [];
        const stream = client.makeServerStreamRequest(COUNT, bytes, bytes, Buffer.of());
        stream.on("data", (part: Buffer) => parts.push(part.toString()));
        stream.on("error", (error: ServiceError) => resolve(nameOf(error)));
        stream.on("end", () => resolve(parts.join("")));
      }),
    [Symbol.dispose]: () => client.close(),
  };
}
