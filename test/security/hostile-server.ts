import type { Socket } from "node:net";
import type { HttpResult } from "../../src/infra/egress/http.ts";
import { millisOf } from "../../src/lib/time.ts";
import { aCall, httpEndpoint, never, openRig, type Rig } from "../support/egress/rig.ts";
import { openTrap, type Trap } from "../support/egress/trap.ts";

export const rigFor = (...servers: readonly Trap[]): Rig =>
  openRig({ endpoints: [httpEndpoint({ ports: servers.map(({ port }) => port) })] });

export async function ask(
  serve: (socket: Socket, nth: number) => void,
  timeout = millisOf(400),
): Promise<[HttpResult, Trap]> {
  await using server = await openTrap({ serve });
  await using rig = rigFor(server);
  return [await rig.http.send(aCall({ address: server.address, timeout }), never), server];
}
