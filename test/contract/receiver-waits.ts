import { fenceOf, TENANT } from "../support/receiver-build.ts";
import { type ReceiverRig, TOKEN } from "../support/receiver-server.ts";
import { until } from "../support/egress/until.ts";

export const isApplying = (rig: ReceiverRig, opId: string) => until(() => rig.applying.has(opId), Boolean);
/** Timers of the receiver: one for an operation that is applied, one for each that waits. */
export const timers = (rig: ReceiverRig, count: number) =>
  until(
    () => rig.clock.sleeping,
    (sleeping) => sleeping === count,
  );

export async function readAll(socket: ReturnType<ReceiverRig["raw"]>): Promise<string> {
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
}

export const headersOf = (length: string, token = TOKEN): string =>
  [
    `PUT /turnout/v1/tenants/${TENANT} HTTP/1.1`,
    "host: x",
    `authorization: Bearer ${token}`,
    `turnout-tenant: ${TENANT}`,
    `turnout-fence: ${fenceOf(5)}`,
    `turnout-base: ${fenceOf(4)}`,
    "idempotency-key: op",
    "content-type: application/json",
    length,
    "\r\n",
  ].join("\r\n");
