import { credentials, type sendUnaryData, Server, ServerCredentials, type ServerUnaryCall } from "@grpc/grpc-js";
import { Client } from "@grpc/grpc-js";
import { expect, inject, test } from "vitest";
import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { seconds } from "../../src/lib/time.ts";
import { openGrpcNames } from "../../src/infra/coord/grpc-resolver.ts";
import { systemRng } from "../../src/kube/clock.ts";
import { addressesOf, coordAt } from "../support/coord-rig.ts";

const { COORD_ENDPOINTS = "" } = inject("env");
const [ADDRESS = ""] = addressesOf(COORD_ENDPOINTS);
const PATH = "/test.Who/Are";
const bytes = (value: Buffer): Buffer => value;

/** A gRPC server that answers with its name. */
async function openNamed(name: string): Promise<AsyncDisposable & { readonly address: string }> {
  const server = new Server();
  const answer = (_call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>): void =>
    done(null, Buffer.from(name));
  const coding = {
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  };
  server.addService({ are: { path: PATH, requestStream: false, responseStream: false, ...coding } }, { are: answer });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  return { address: `127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => server.forceShutdown() };
}

const ask = (client: Client): Promise<string> =>
  new Promise((resolve, reject) => {
    const deadline = Date.now() + 5000;
    client.makeUnaryRequest(PATH, bytes, bytes, Buffer.of(), { deadline }, (error, value) =>
      error === null ? resolve(String(value)) : reject(error),
    );
  });

test("[R124] a gRPC client asks all registered instances in turn, and follows the registry", async () => {
  await using coord = coordAt({ endpoints: [ADDRESS] });
  await using a = await openNamed("a");
  await using b = await openNamed("b");
  const service = `grpc-${process.pid}`;
  await using client = asDisposable(
    new Client(openGrpcNames(coord, systemRng).target(service), credentials.createInsecure()),
  );
  await expect(ask(client.client)).rejects.toThrow(`no instance of ${service} is registered`);

  const ofA = await coord.register({ service, id: "a", address: a.address, labels: {} }, seconds(10));
  await coord.register({ service, id: "b", address: b.address, labels: {} }, seconds(10));
  const answers = async (): Promise<string> => {
    const all = await Promise.all(Array.from({ length: 6 }, () => ask(client.client)));
    return all.toSorted().join("");
  };
  const about = { clock: localClock, timeout: seconds(10) };
  await until(async () => (await answers()) === "aaabbb", { ...about, what: "both to be asked" });
  await ofA.close();
  await until(async () => (await answers()) === "bbbbbb", { ...about, what: "only b to be asked" });
  expect(await answers()).toBe("bbbbbb");
});

const asDisposable = (client: Client): AsyncDisposable & { readonly client: Client } => ({
  client,
  [Symbol.asyncDispose]: async () => client.close(),
});
