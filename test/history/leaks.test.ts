import { completed } from "./build.ts";
import { proves } from "./table.ts";

const SECRET = "s3cret/key+word=";
const shows = (text: string) => completed().recording({ secrets: [SECRET], outputs: [{ where: "log", text }] });
proves("canary", {
  ids: ["S17"],
  good: [
    ["S17", "its name is no secret", shows("token from TURNOUT_SECRET_GATEWAY")],
    [
      "S17",
      "an empty one is everywhere",
      completed().recording({ secrets: [""], outputs: [{ where: "log", text: "x" }] }),
    ],
  ],
  bad: [
    ["S17", "raw", shows(`authorization: ${SECRET}`)],
    ["S17", "in base64", shows(Buffer.from(SECRET).toString("base64"))],
    ["S17", "in base64, behind something else", shows(Buffer.from(`user:${SECRET}`).toString("base64"))],
    ["S17", "percent-encoded", shows(encodeURIComponent(SECRET))],
    ["S17", "in hex", shows(Buffer.from(SECRET).toString("hex"))],
    ["S17", "in base64url", shows(Buffer.from(SECRET).toString("base64url"))],
  ],
});

const from = (...addresses: readonly string[]) =>
  completed().recording({
    allowed: ["127.0.0.1:6379"],
    sockets: addresses.map((address) => ({ process: "p1", address })),
  });
proves("egress", {
  ids: ["S16"],
  good: [
    ["S16", "an allowed one", from("127.0.0.1:6379")],
    ["S16", "none", from()],
  ],
  bad: [
    ["S16", "another port", from("127.0.0.1:6380")],
    ["S16", "another host", from("10.0.0.1:6379")],
    ["S16", "the metadata service", from("169.254.169.254:80")],
    ["S16", "another one beside an allowed one", from("127.0.0.1:6379", "127.0.0.1:22")],
    ["S16", "IPv6 loopback", from("[::1]:6379")],
  ],
});
