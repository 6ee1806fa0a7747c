import {
  bytesOf,
  type Case,
  contentOf,
  expect,
  expectRefused,
  expectStatus,
  FIRST,
  NotConforming,
  type Play,
  type Put,
  readInForce,
} from "./conformance-play.ts";

const A = FIRST;

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
/** How characters outside Latin-1 travel in a header. */
const onTheWire = (text: string): string => String.fromCodePoint(...utf8(text));

/** Were one of them compared as text and remembered, no later fence would ever pass (SEC-31). */
const MALFORMED_FENCES: readonly string[] = [
  "~",
  "9999999999-9999999~",
  "9999999999-999999999",
  "99999999999-99999999",
  "999999999-99999999",
  "9999999999_99999999",
  "9999999999-99999999, 9999999999-99999999",
  onTheWire("９９９９９９９９９９-99999999"),
];

const MALFORMED_BODIES: readonly (readonly [what: string, body: Uint8Array])[] = [
  ["no JSON", utf8("{")],
  ["nothing", utf8("")],
  ["a JSON array", utf8("[]")],
  ["no version", bytesOf({ deployUnit: { id: 1, name: "blue", version: 7 } })],
  ["a version as text", bytesOf({ ...contentOf(41), version: "41" })],
  ["a version beyond 2^31-1", bytesOf({ ...contentOf(41), version: 2 ** 31 })],
  ["no deploy unit", bytesOf({ version: 41, endpoints: [], parameters: {} })],
  ["__proto__", utf8('{"__proto__":{},' + JSON.stringify(contentOf(41)).slice(1))],
  ["constructor", utf8('{"constructor":{},' + JSON.stringify(contentOf(41)).slice(1))],
  ["a key given twice", utf8('{"version":42,' + JSON.stringify(contentOf(41)).slice(1))],
  ["17 levels", utf8(`{"deep":${"[".repeat(17)}${"]".repeat(17)},` + JSON.stringify(contentOf(41)).slice(1))],
  [
    "bytes that are not UTF-8",
    Uint8Array.from([...utf8('{"x":"'), 0xff, ...utf8('",' + JSON.stringify(contentOf(41)).slice(1))]),
  ],
  ["a lone surrogate", utf8('{"x":"\\ud800",' + JSON.stringify(contentOf(41)).slice(1))],
];

const CANARY = "canary-5d1f0a7c";

/** Who may speak, and in which form. */
export const BORDER_CASES: readonly Case[] = [
  {
    id: "malformed-fence",
    rule: "a malformed fence is refused and not remembered",
    run: async (play) => {
      await play.apply({ seq: A });
      for (const fence of MALFORMED_FENCES) {
        expectRefused(await play.put({ seq: A + 1, headers: { "turnout-fence": fence } }), 400);
      }
      await play.apply({ seq: A + 1 });
    },
  },
  {
    id: "missing-fence",
    rule: "a request without a fence is refused with 428",
    run: async (play) => {
      expectRefused(await play.put({ seq: A, headers: { "turnout-fence": undefined } }), 428, "FenceMissing");
      expectRefused(await play.get(), 404);
    },
  },
  {
    id: "malformed-claim",
    rule: "a missing or malformed base or operation is refused, and its fence is not remembered",
    run: async (play) => {
      const wrong: readonly Put["headers"][] = [
        { "turnout-base": undefined },
        { "turnout-base": "~" },
        { "idempotency-key": undefined },
        { "idempotency-key": "" },
        { "idempotency-key": "x".repeat(65) },
        { "idempotency-key": "a b" },
      ];
      for (const headers of wrong) expectRefused(await play.put({ seq: A + 1, headers: headers ?? {} }), 400);
      await play.apply({ seq: A });
    },
  },
  {
    id: "nobody",
    rule: "without a credential nothing is applied, answered or remembered",
    needs: "authentication",
    run: (play) => refusesStranger(play, "nobody"),
  },
  {
    id: "wrong-credential",
    rule: "with a wrong credential nothing is applied, answered or remembered",
    needs: "authentication",
    run: (play) => refusesStranger(play, "wrong"),
  },
  {
    id: "before-the-body",
    rule: "a stranger is refused before the body is read",
    needs: "authentication",
    run: async (play) => {
      expectRefused(await play.put({ seq: A, as: "wrong", withholdBody: true }), 401);
    },
  },
  {
    id: "tenant-header",
    rule: "the tenant of the header must be the one of the path",
    run: async (play) => {
      const others = [undefined, `${play.tenant}x`, play.tenant.replace("/", "%2F"), play.tenant.split("/")[1]];
      for (const other of others) {
        expectRefused(await play.put({ seq: A, headers: { "turnout-tenant": other } }), 400);
      }
      expectRefused(await play.get(), 404);
    },
  },
  {
    id: "oversized",
    rule: "a body above 256 KiB is refused, one below is not",
    run: async (play) => {
      const filler = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`p${i}`, "x".repeat(4000)]));
      await play.apply({ seq: A, version: 41, body: bytesOf(contentOf(41, filler)) });
      const tooLarge = utf8(JSON.stringify(contentOf(42)).padEnd(256 * 1024 + 1, " "));
      expectRefused(await play.put({ seq: A + 1, version: 42, body: tooLarge }), 413);
      expect("version in force", (await play.inForce()).version, 41);
    },
  },
  {
    id: "malformed-body",
    rule: "a body that is no configuration is refused, and its fence is not remembered",
    run: async (play) => {
      for (const [what, body] of MALFORMED_BODIES) {
        const answer = await play.put({ seq: A + 1, body });
        if (answer.status !== 400) throw new NotConforming(`${what}: expected 400, got ${answer.status}`);
        expectRefused(answer, 400);
      }
      await play.apply({ seq: A });
    },
  },
  {
    id: "unknown-keys",
    rule: "keys that a newer operator may send are left out, not refused",
    run: async (play) => {
      const body = bytesOf({ ...contentOf(A), later: { any: "thing" } });
      await play.apply({ seq: A, body });
    },
  },
  {
    id: "content-type",
    rule: "only plain JSON is taken",
    run: async (play) => {
      for (const type of [undefined, "text/plain", "application/x-www-form-urlencoded"]) {
        expectRefused(await play.put({ seq: A, headers: { "content-type": type } }), 415);
      }
      expectRefused(await play.put({ seq: A, headers: { "content-encoding": "gzip" } }), 415);
      await play.apply({ seq: A, headers: { "content-type": "application/json; charset=utf-8" } });
    },
  },
  {
    id: "unknown-tenant",
    rule: "GET of a tenant that was never switched is 404",
    run: async (play) => expectRefused(await play.get(), 404),
  },
  {
    id: "small-answers",
    rule: "answers have at most 4 KiB, whatever was sent",
    run: async (play) => {
      const name = "n".repeat(63);
      const unit = { deployUnit: { id: 1, name, version: 7 } };
      const filler = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`p${i}`, "x".repeat(4000)]));
      const body = bytesOf({ ...contentOf(41, filler), ...unit });
      readInForce(await play.put({ seq: A, body }));
      expect("deploy unit", readInForce(await play.get()).unit, name);
    },
  },
  {
    id: "quotes-nothing",
    rule: "a refusal quotes neither body nor headers",
    run: async (play) => {
      const answers = [
        await play.put({ seq: A, body: utf8(`{"${CANARY}"`) }),
        await play.put({ seq: A, headers: { "turnout-fence": CANARY } }),
        await play.put({ seq: A, headers: { "turnout-tenant": CANARY } }),
        await play.put({ seq: A, headers: { "idempotency-key": `${CANARY}!` } }),
        await play.get({ path: `${play.path}%20${CANARY}` }),
      ];
      for (const answer of answers) {
        expectRefused(answer, 400);
        if (new TextDecoder().decode(answer.body).includes(CANARY))
          throw new NotConforming("the answer quotes its request");
      }
    },
  },
  {
    id: "path-encoding",
    rule: "a segment of the path is percent-decoded exactly once",
    run: async (play) => {
      const [namespace = "", tenantId = ""] = play.tenant.split("/");
      const head = play.path.slice(0, -(namespace.length + 1 + tenantId.length));
      const first = `%${tenantId.codePointAt(0)?.toString(16)}`;
      await play.apply({ seq: A, path: `${head}${namespace}/${first}${tenantId.slice(1)}` });
      expect("operation in force", (await play.inForce()).opId, play.opId(A));
      const wrong = [
        `${head}${namespace}/%25${first.slice(1)}${tenantId.slice(1)}`,
        `${head}${namespace}%2F${tenantId}`,
        `${head}${namespace}/${tenantId}/`,
        `${head}${namespace}/%2e%2e/${tenantId}`,
        `${head}${namespace}/%ff`,
        `${head}${namespace}/`,
      ];
      for (const path of wrong) expectStatus(await play.put({ seq: A + 1, path }), 400, 404);
      expect("fence in force", (await play.inForce()).fence, play.fence(A));
    },
  },
  {
    id: "methods",
    rule: "other methods are 405 and other paths 404, as JSON with a code",
    run: async (play) => {
      for (const method of ["POST", "DELETE", "PATCH"]) expectRefused(await play.put({ seq: A, method }), 405);
      expectRefused(await play.get({ path: "/turnout/v1/tenants" }), 404);
      expectRefused(await play.get({ path: "/turnout/v2/tenants/x/y" }), 404);
      expectRefused(await play.get(), 404);
    },
  },
];

async function refusesStranger(play: Play, as: "nobody" | "wrong"): Promise<void> {
  expectRefused(await play.put({ seq: A + 5, as }), 401);
  await play.apply({ seq: A });
  expectRefused(await play.get({ as }), 401);
  expectRefused(await play.put({ seq: A + 5, base: A, as }), 401);
  await play.apply({ seq: A + 1 });
}
