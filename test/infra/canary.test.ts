import { describe, expect, test } from "vitest";
import { aCanary, ENCODINGS, findCanaries } from "../support/canary.ts";

const secret = aCanary();
const json = (text: string): string => JSON.stringify({ a: text });

describe("[SEC-36] the scanner finds a secret", () => {
  test.each<readonly [title: string, text: string]>([
    ["as it is", `token ${secret}!`],
    ["inside JSON", json(secret)],
    ["inside JSON inside JSON", json(json(secret))],
    ["percent-encoded", `?q=${encodeURIComponent(secret)}`],
    ["in a form", new URLSearchParams({ q: secret }).toString()],
    ["in hex", Buffer.from(`x${secret}`).toString("hex")],
    ["in capital hex", Buffer.from(secret).toString("hex").toUpperCase()],
    ["in base64", Buffer.from(secret).toString("base64")],
    ["in base64url", Buffer.from(secret).toString("base64url")],
    ["in base64 behind a user name of any length", Buffer.from(`a:${secret}`).toString("base64")],
    ["in base64 behind a longer user name", Buffer.from(`ab:${secret}:c`).toString("base64")],
    ["in base64 behind a still longer one", Buffer.from(`abc:${secret}:cd`).toString("base64url")],
  ])("%s", (_title, text) => {
    expect(findCanaries(text, ["other-secret-that-is-absent", secret])).not.toEqual([]);
  });
});

test("[SEC-36] the scanner finds nothing where nothing is, and repeats no secret", () => {
  expect(findCanaries(`${json("harmless")} ${"x".repeat(1000)} ${aCanary()}`, [secret])).toEqual([]);
  expect(JSON.stringify(findCanaries(secret, [secret]))).not.toContain(secret);
  expect(Object.keys(ENCODINGS)).toHaveLength(5);
});
