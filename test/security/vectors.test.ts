import { describe, expect, test } from "vitest";
import { seconds } from "../../src/lib/time.ts";
import { aCall, httpEndpoint, never, openRig, redisEndpoint, type Rig } from "../support/egress/rig.ts";
import { countSockets, openTrap } from "../support/egress/trap.ts";
import { ALL, namesNoAddress, type Vector } from "../support/egress/vectors.ts";

/** Everything public is open, and one documentation block: what a careless platform team might write. */
const CIDRS = ["0.0.0.0/0", "::/0", "203.0.113.8/29"];

interface Attempt {
  readonly rig: Rig;
  readonly port: number;
  readonly vector: Vector;
}
interface Refusal {
  readonly kind: string;
  readonly code: string;
  readonly texts: string;
}

const CLIENTS: Readonly<Record<string, (attempt: Attempt) => Promise<Refusal>>> = {
  http: async ({ rig, port, vector }) => {
    const result = await rig.http.send(aCall({ address: `${vector.host}:${port}`, timeout: seconds(1) }), never);
    if (result.kind === "answer") return { kind: result.kind, code: String(result.status), texts: "" };
    return { kind: result.kind, code: result.fault.code, texts: JSON.stringify(result.fault) };
  },
  redis: async ({ rig }) => {
    const result = await rig.redis().run(["SET", "tenant:a", "1"], { signal: never, timeout: seconds(1), point: null });
    if (!("fault" in result)) return { kind: result.kind, code: "", texts: "" };
    return { kind: result.kind, code: result.fault.code, texts: JSON.stringify(result.fault) };
  },
};

test("the vectors are as many as promised", () => {
  const count = (family: Vector["family"]): number => ALL.filter((vector) => vector.family === family).length;
  expect(count("ipv4 spelling")).toBeGreaterThanOrEqual(32);
  expect(count("text trick")).toBeGreaterThanOrEqual(20);
  expect(count("ipv6 form")).toBeGreaterThanOrEqual(28);
  expect(count("range edge")).toBeGreaterThanOrEqual(40);
  expect(count("name")).toBeGreaterThanOrEqual(20);
  expect(new Set(ALL.map(({ family, title }) => `${family} ${title}`)).size).toBe(ALL.length);
});

describe.each(Object.keys(CLIENTS))("%s", (client) => {
  test.each(ALL)("[SEC-19] [SEC-26] $family: $title is refused before a socket is made", async (vector) => {
    await using trap = await openTrap({ host: "0.0.0.0" });
    const answers = vector.answers ?? ["127.0.0.1"];
    await using rig = openRig({
      endpoints: [
        httpEndpoint({ cidrs: CIDRS, ports: [trap.port] }),
        redisEndpoint({ cidrs: CIDRS, ports: [trap.port], addresses: [`${vector.host}:${trap.port}`] }),
      ],
      resolve: () => Promise.resolve(answers),
    });
    using sockets = countSockets();
    const refusal = await CLIENTS[client]?.({ rig, port: trap.port, vector });
    expect(refusal).toMatchObject({ kind: "notSent", code: "EgressDenied" });
    expect(sockets.count).toBe(0);
    expect(rig.connected).toEqual([]);
    expect({ connections: trap.connections, bytes: trap.bytes }).toEqual({ connections: 0, bytes: 0 });
    expect(namesNoAddress(`${refusal?.texts ?? ""} ${rig.lines.join(" ")}`, vector)).toBe(true);
  });
});
