import { expect, test } from "vitest";
import { always, answer } from "../support/egress/answers.ts";
import { aCall, httpEndpoint, never, openRig } from "../support/egress/rig.ts";
import { openTrap } from "../support/egress/trap.ts";

interface Row {
  readonly title: string;
  readonly listen: string;
  readonly host: string;
  readonly answers?: readonly string[];
  readonly cidrs: readonly string[];
}

const LOOP = ["127.0.0.0/8"];
const ROWS: readonly Row[] = [
  { title: "a literal under its own block", listen: "127.0.0.1", host: "127.0.0.1", cidrs: ["127.0.0.1/32"] },
  { title: "a literal under a wider block", listen: "127.0.0.1", host: "127.0.0.1", cidrs: LOOP },
  { title: "a literal under the second block", listen: "127.0.0.1", host: "127.0.0.1", cidrs: ["10.0.0.0/8", ...LOOP] },
  { title: "a literal beside 0.0.0.0/0", listen: "127.0.0.1", host: "127.0.0.1", cidrs: ["0.0.0.0/0", ...LOOP] },
  { title: "the last address of loopback", listen: "127.255.255.254", host: "127.255.255.254", cidrs: LOOP },
  { title: "an address inside loopback", listen: "127.8.9.10", host: "127.8.9.10", cidrs: ["127.8.0.0/16"] },
  { title: "the first address of its block", listen: "127.0.4.0", host: "127.0.4.0", cidrs: ["127.0.4.0/24"] },
  { title: "the last address of its block", listen: "127.0.4.255", host: "127.0.4.255", cidrs: ["127.0.4.0/24"] },
  {
    title: "a mapped literal whose IPv4 address is listed",
    listen: "127.0.0.1",
    host: "[::ffff:127.0.0.1]",
    cidrs: LOOP,
  },
  { title: "a mapped literal in hex", listen: "127.0.0.1", host: "[::ffff:7f00:1]", cidrs: LOOP },
  { title: "IPv6 loopback", listen: "::1", host: "[::1]", cidrs: ["::1/128"] },
  { title: "IPv6 loopback, uncompressed", listen: "::1", host: "[0:0:0:0:0:0:0:1]", cidrs: ["::1/128"] },
  { title: "a name", listen: "127.0.0.1", host: "gateway.prod.svc", answers: ["127.0.0.1"], cidrs: LOOP },
  { title: "a name of one label", listen: "127.0.0.1", host: "gateway", answers: ["127.0.0.1"], cidrs: LOOP },
  {
    title: "a name with a trailing dot",
    listen: "127.0.0.1",
    host: "gateway.prod.svc.",
    answers: ["127.0.0.1"],
    cidrs: LOOP,
  },
  { title: "a name in capitals", listen: "127.0.0.1", host: "Gateway.PROD.svc", answers: ["127.0.0.1"], cidrs: LOOP },
  {
    title: "a name with digits and hyphens",
    listen: "127.0.0.1",
    host: "g-1.2nd.svc",
    answers: ["127.0.0.1"],
    cidrs: LOOP,
  },
  {
    title: "a name whose first label is a number",
    listen: "127.0.0.1",
    host: "127.prod.svc",
    answers: ["127.0.0.1"],
    cidrs: LOOP,
  },
  {
    title: "localhost where loopback is listed",
    listen: "127.0.0.1",
    host: "localhost",
    answers: ["127.0.0.1"],
    cidrs: LOOP,
  },
  {
    title: "a name with both families, both listed",
    listen: "127.0.0.1",
    host: "localhost",
    answers: ["::1", "127.0.0.1"],
    cidrs: [...LOOP, "::1/128"],
  },
  {
    title: "a name whose first instance is down",
    listen: "127.0.0.1",
    host: "gateway.prod.svc",
    answers: ["127.0.0.3", "127.0.0.1"],
    cidrs: LOOP,
  },
  {
    title: "a name with 32 answers",
    listen: "127.0.0.1",
    host: "gateway.prod.svc",
    answers: Array.from({ length: 32 }, () => "127.0.0.1"),
    cidrs: LOOP,
  },
  {
    title: "a name that answers in IPv6",
    listen: "::1",
    host: "gateway.prod.svc",
    answers: ["::1"],
    cidrs: ["::1/128"],
  },
  {
    title: "a mapped answer",
    listen: "127.0.0.1",
    host: "gateway.prod.svc",
    answers: ["::ffff:127.0.0.1"],
    cidrs: LOOP,
  },
];

test("no row is lost", () => expect(ROWS.length).toBeGreaterThanOrEqual(20));

test.each(ROWS)("[SEC-19] connects: $title", async ({ listen, host, answers = [], cidrs }) => {
  await using server = await openTrap({ host: listen, serve: always(answer(200, '{"version":7}')) });
  await using rig = openRig({
    endpoints: [httpEndpoint({ cidrs, ports: [server.port] })],
    resolve: () => Promise.resolve(answers),
  });
  const result = await rig.http.send(aCall({ address: `${host}:${server.port}` }), never);
  expect(result).toMatchObject({ kind: "answer", status: 200, json: { ok: true, value: { version: 7 } } });
  expect(rig.connected).toEqual([{ endpoint: "gateway", namespace: "prod", ip: listen, port: server.port }]);
});
