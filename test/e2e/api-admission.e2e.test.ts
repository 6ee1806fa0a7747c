import { afterAll, beforeAll, describe, inject, test } from "vitest";
import type { Json } from "../../src/lib/json.ts";
import { OPERATOR_USER } from "../../src/api/group.ts";
import { type ApiPeople, type ApiPerson, openApiPeople, type Said, type Target } from "../support/api-person.ts";
import { aSwitch, NOTIFY, openTestStand, type TestStand } from "../support/stand.ts";

// Who may do what, by the roles that are shipped, in a namespace in which no operator works: what is refused here, the API server
// refuses.

const PEOPLE = {
  vera: "turnout-viewer",
  eddy: "turnout-editor",
  olga: "turnout-operator",
  abel: "turnout-approver",
  rita: "releases",
  ron: "patches-tenants",
} as const;
type Who = keyof typeof PEOPLE | "admin" | "operator";

let stand: TestStand;
let people: ApiPeople;
beforeAll(async () => {
  stand = await openTestStand(inject("env"));
  people = await openApiPeople(stand.env["KUBECONFIG_ADMIN"] ?? "");
  const { namespace, kubectl } = stand;
  const rule = (verbs: string): readonly string[] => [`--verb=${verbs}`, "--resource=tenantstates.turnout.dev"];
  await kubectl.run("create", "role", "releases", "-n", namespace, ...rule("get,patch,release"));
  await kubectl.run("create", "role", "patches-tenants", "-n", namespace, ...rule("get,patch"));
  for (const [user, role] of Object.entries(PEOPLE)) {
    const kind = role.startsWith("turnout-") ? "--clusterrole" : "--role";
    await kubectl.run("create", "rolebinding", user, "-n", namespace, `${kind}=${role}`, `--user=${user}`);
  }
});
afterAll(async () => {
  await people[Symbol.asyncDispose]();
  await stand[Symbol.asyncDispose]();
});

const asPerson = (who: Who): ApiPerson => {
  if (who === "admin") return people.as();
  return people.as(who === "operator" ? OPERATOR_USER : who, ["system:authenticated"]);
};
const nameOf = (who: Who): string => (who === "operator" ? OPERATOR_USER : who);

let made = 0;
const gate = { name: "gate", approval: {} };
/** A task of its own for every question. */
async function aTask(stages: readonly unknown[] = [NOTIFY, gate]): Promise<Target> {
  made += 1;
  const name = `task-${made}`;
  const { namespace } = stand;
  const said = await people
    .as()
    .create({ kind: "switchtasks", namespace }, aSwitch(stand, { name, tenantId: name, stages }));
  if (said.code !== 201) throw new Error(said.message);
  return { kind: "switchtasks", namespace, name };
}
async function aTenant(): Promise<Target> {
  made += 1;
  const name = `tenant-${made}`;
  const { namespace } = stand;
  const said = await people.as().create(
    { kind: "tenantstates", namespace },
    {
      apiVersion: "turnout.dev/v1alpha1",
      kind: "TenantState",
      metadata: { name },
      spec: { tenantId: name },
    },
  );
  if (said.code !== 201) throw new Error(said.message);
  return { kind: "tenantstates", namespace, name };
}

const approvals = (user: string, stage = "gate"): Json => ({
  spec: { control: { approvals: { [stage]: { [user]: { decision: "Approve" } } } } },
});
const skip = (by: string): Json => ({ spec: { control: { skip: { notify: { by, reason: "seen in the night" } } } } });
const release = (by: string): Json => ({ spec: { forceRelease: { epoch: 1, by, reason: "seen in the night" } } });
const OTHER = "nobody-here";

const VERBS: Readonly<Record<string, (who: Who) => Promise<Said>>> = {
  create: async (who) => {
    made += 1;
    const name = `own-${made}`;
    const { namespace } = stand;
    return asPerson(who).create({ kind: "switchtasks", namespace }, aSwitch(stand, { name, tenantId: name }));
  },
  "create for another": async (who) => {
    made += 1;
    const name = `own-${made}`;
    const { namespace } = stand;
    const about = { name, tenantId: name, spec: { requestedBy: OTHER } };
    return asPerson(who).create({ kind: "switchtasks", namespace }, aSwitch(stand, about));
  },
  delete: async (who) => asPerson(who).remove(await aTask()),
  pause: async (who) => asPerson(who).patch(await aTask(), { spec: { control: { paused: true } } }),
  approve: async (who) => asPerson(who).patch(await aTask(), approvals(nameOf(who))),
  "approve as another": async (who) => asPerson(who).patch(await aTask(), approvals(OTHER)),
  skip: async (who) => asPerson(who).patch(await aTask(), skip(nameOf(who))),
  "skip as another": async (who) => asPerson(who).patch(await aTask(), skip(OTHER)),
  "hide from the operator": async (who) =>
    asPerson(who).patch(await aTask(), { metadata: { labels: { "turnout.dev/done": "true" } } }),
  "write a status": async (who) =>
    asPerson(who).patch({ ...(await aTask()), subresource: "status" }, { status: { phase: "Completed" } }),
  release: async (who) => asPerson(who).patch(await aTenant(), release(nameOf(who))),
  "release as another": async (who) => asPerson(who).patch(await aTenant(), release(OTHER)),
  "write a tenant's status": async (who) =>
    asPerson(who).patch({ ...(await aTenant()), subresource: "status" }, { status: { epoch: 1 } }),
};

const OWN_NAME = "USER is your own user name";
const NEEDS = { approve: "approving needs the verb approve", skip: "skipping needs the verb skip" };
const BY = "control.skip.STAGE.by is your own user name";
const RELEASED_BY = "spec.forceRelease.by is your own user name";
const REQUESTER = "spec.requestedBy is the caller's own user name";
const LABEL = "the label turnout.dev/done is set by the operator";
const NO = "cannot";

type Row = Readonly<Record<Who, string>>;
const ALLOWED = "";
const NOBODY = { vera: NO, eddy: NO, olga: NO, abel: NO, rita: NO, ron: NO, admin: ALLOWED, operator: NO };
const nobody = (but: Partial<Row>): Row => ({ ...NOBODY, ...but });
/** Empty: allowed. `cannot`: not by RBAC, which names the verb. Else what the policy says. */
const MATRIX: Readonly<Record<keyof typeof VERBS, Row>> = {
  create: nobody({ eddy: ALLOWED }),
  "create for another": nobody({ eddy: REQUESTER, admin: REQUESTER }),
  delete: nobody({ eddy: ALLOWED, operator: ALLOWED }),
  pause: nobody({ olga: ALLOWED, abel: ALLOWED, operator: ALLOWED }),
  approve: nobody({ olga: NEEDS.approve, abel: ALLOWED, operator: ALLOWED }),
  "approve as another": nobody({ olga: OWN_NAME, abel: OWN_NAME, admin: OWN_NAME, operator: ALLOWED }),
  skip: nobody({ olga: ALLOWED, abel: NEEDS.skip, operator: ALLOWED }),
  "skip as another": nobody({ olga: BY, abel: BY, admin: BY, operator: ALLOWED }),
  "hide from the operator": nobody({ olga: LABEL, abel: LABEL, operator: ALLOWED }),
  "write a status": nobody({}),
  release: nobody({ rita: ALLOWED, ron: "releasing a tenant needs the verb release", operator: ALLOWED }),
  "release as another": nobody({ rita: RELEASED_BY, ron: RELEASED_BY, admin: RELEASED_BY, operator: ALLOWED }),
  "write a tenant's status": nobody({}),
};

describe.concurrent("[SEC-11] [SEC-12] person × verb", () => {
  const rows = Object.entries(MATRIX);
  test("no verb is lost", ({ expect }) => expect(rows.map(([verb]) => verb)).toEqual(Object.keys(VERBS)));
  test.for(rows)("%s", async ([verb, row], { expect }) => {
    const seen: Record<string, string> = {};
    for (const who of Object.keys(row) as readonly Who[]) {
      const { code, message } = (await VERBS[verb]?.(who)) ?? { code: 0, message: "no such verb" };
      // Who may gets no words; who may not gets those of the row, or else the whole refusal shows what is wrong.
      seen[who] = row[who] !== ALLOWED && code === 403 && message.includes(row[who]) ? row[who] : message;
    }
    expect(seen).toEqual(row);
  });
});

describe.concurrent("[SEC-11] what others said stays", () => {
  const twice = async (first: Json, second: Json): Promise<string> => {
    const task = await aTask();
    const before = await people.as("abel").patch(task, first);
    if (before.code !== 200) throw new Error(before.message);
    return (await people.as().patch(task, second)).message;
  };
  const change = (decision: Json): Json => ({ spec: { control: { approvals: { gate: { abel: decision } } } } });

  test("an approval of somebody else cannot be overwritten", async ({ expect }) => {
    expect(await twice(approvals("abel"), change({ decision: "Reject" }))).toContain(OWN_NAME);
    expect(await twice(approvals("abel"), change({ comment: "so be it" }))).toContain(OWN_NAME);
  });
  test("nor taken away: it alone, with its stage, with all approvals, with control", async ({ expect }) => {
    const words = "approvals of others cannot be taken away";
    expect(await twice(approvals("abel"), change(null))).toContain(words);
    expect(await twice(approvals("abel"), { spec: { control: { approvals: { gate: null } } } })).toContain(words);
    expect(await twice(approvals("abel"), { spec: { control: { approvals: null } } })).toContain(words);
    expect(await twice(approvals("abel"), { spec: { control: null } })).toContain(words);
  });
  test("one's own may be changed and taken back; beside it stands whose was there", async ({ expect }) => {
    const task = await aTask();
    const abel = people.as("abel");
    expect(await abel.patch(task, approvals("abel"))).toMatchObject({ code: 200 });
    expect(await people.as().patch(task, approvals("admin"))).toMatchObject({ code: 200 });
    expect(await abel.patch(task, change({ decision: "Reject" }))).toMatchObject({ code: 200 });
    const { object, code } = await abel.patch(task, change(null));
    expect(code).toBe(200);
    expect(object["spec"]).toMatchObject({ control: { approvals: { gate: { admin: { decision: "Approve" } } } } });
  });
  test("a skip of somebody else cannot be taken away", async ({ expect }) => {
    const task = await aTask();
    expect(await people.as("olga").patch(task, skip("olga"))).toMatchObject({ code: 200 });
    const gone = await people.as().patch(task, { spec: { control: { skip: { notify: null } } } });
    expect(gone.message).toContain("skips of others cannot be taken away");
  });
});

describe.concurrent("[SEC-13] only approvers of the stage approve it", () => {
  const NOT_AMONG = "you are not among the approvers of this stage";
  const named = (approvers: Json): readonly unknown[] => [NOTIFY, { name: "gate", approval: { approvers } }];

  test("by user name", async ({ expect }) => {
    const task = await aTask(named({ users: ["abel"] }));
    expect((await people.as().patch(task, approvals("admin"))).message).toContain(NOT_AMONG);
    expect(await people.as("abel").patch(task, approvals("abel"))).toMatchObject({ code: 200 });
  });
  test("by group", async ({ expect }) => {
    const task = await aTask(named({ groups: ["night-shift"] }));
    expect((await people.as("abel").patch(task, approvals("abel"))).message).toContain(NOT_AMONG);
    expect(await people.as("abel", ["night-shift"]).patch(task, approvals("abel"))).toMatchObject({ code: 200 });
  });
  test("who approves one stage may not be let through for another", async ({ expect }) => {
    const both = [...named({ users: ["abel"] }), { name: "second", approval: { approvers: { users: ["admin"] } } }];
    const task = await aTask(both);
    expect((await people.as("abel").patch(task, approvals("abel", "second"))).message).toContain(NOT_AMONG);
  });
});
