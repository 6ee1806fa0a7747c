import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";

// What the shipped manifests grant and demand, as they stand.

const ROOT = join(import.meta.dirname, "..", "..");

interface Rule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
  readonly verbs: readonly string[];
}
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly rules?: readonly Rule[];
  readonly subjects?: readonly { readonly name: string; readonly namespace?: string }[];
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly spec?: {
    readonly failurePolicy?: string;
    readonly validationActions?: readonly string[];
    readonly matchConstraints?: { readonly resourceRules: readonly { readonly operations: readonly string[] }[] };
  };
}

const manifestsIn = (...folders: readonly string[]): readonly Manifest[] =>
  folders
    .flatMap((folder) => readdirSync(join(ROOT, folder)).map((file) => join(ROOT, folder, file)))
    .flatMap((path) => parseAllDocuments(readFileSync(path, "utf8")).map((one) => one.toJS() as Manifest));

const SHIPPED = manifestsIn("crds", "admission", "deployment/install");
const rulesOf = (kind: string, name: string): readonly Rule[] =>
  SHIPPED.find((one) => one.kind === kind && one.metadata.name === name)?.rules ?? [];
const OPERATOR = rulesOf("ClusterRole", "turnout-controller");

/** group/resource → verbs. */
const granted = (rules: readonly Rule[]): Readonly<Record<string, string>> =>
  Object.fromEntries(
    rules.flatMap(({ apiGroups = [], resources = [], verbs }) =>
      apiGroups.flatMap((group) =>
        resources.map((name) => [group === "" ? name : `${group}/${name}`, verbs.join(" ")] as const),
      ),
    ),
  );

describe("[SEC-7] the operator's own rights", () => {
  test("are these and no more", () => {
    expect(granted(OPERATOR)).toEqual({
      "turnout.dev/switchtasks": "get list watch patch delete",
      "turnout.dev/switchtasks/status": "update",
      "turnout.dev/tenantstates": "get list watch create patch",
      "turnout.dev/tenantstates/status": "update",
      "events.k8s.io/events": "create patch",
      namespaces: "get",
      "admissionregistration.k8s.io/validatingadmissionpolicies": "get",
      "admissionregistration.k8s.io/validatingadmissionpolicybindings": "get",
    });
    expect(granted(rulesOf("Role", "turnout-leader"))).toEqual({ "coordination.k8s.io/leases": "get create update" });
  });

  test("no role has a wildcard, and none a right by which it would get others", () => {
    const rules = SHIPPED.flatMap((one) => one.rules ?? []);
    const words = rules.flatMap((rule) => [...(rule.apiGroups ?? []), ...(rule.resources ?? []), ...rule.verbs]);
    expect(rules.length).toBeGreaterThan(10);
    expect(words.filter((word) => word.includes("*"))).toEqual([]);
    expect(words.filter((word) => /^(?:impersonate.*|escalate|bind|proxy)$/.test(word))).toEqual([]);
    expect(
      words.filter((word) => /^(?:secrets|serviceaccounts.*|pods.*|nodes.*|.*roles|.*rolebindings)$/.test(word)),
    ).toEqual([]);
    expect(rules.flatMap((rule) => rule.nonResourceURLs ?? [])).toEqual([]);
  });

  test("are bound to its service account and to nobody else", () => {
    const bindings = SHIPPED.filter(({ roleRef }) => roleRef !== undefined);
    expect(bindings.map(({ roleRef, subjects }) => [roleRef?.name, subjects?.map(({ name }) => name)])).toEqual([
      ["turnout-controller", ["turnout"]],
      ["turnout-leader", ["turnout"]],
    ]);
  });
});

describe("[SEC-15] who writes what the operator alone may say", () => {
  test("no role for people holds a status, and none but the operator's creates or patches a tenant's record by default", () => {
    const people = SHIPPED.filter(
      ({ kind, metadata }) => kind === "ClusterRole" && metadata.name !== "turnout-controller",
    );
    const rights = people.map(({ metadata, rules = [] }) => [metadata.name, granted(rules)] as const);
    expect(rights.length).toBeGreaterThanOrEqual(4);
    expect(rights.filter(([, has]) => Object.keys(has).some((what) => what.endsWith("/status")))).toEqual([]);
    const writers = rights.filter(([, has]) =>
      /create|update|patch|delete/.test(has["turnout.dev/tenantstates"] ?? ""),
    );
    expect(writers.map(([name]) => name).filter((name) => /viewer|editor|operator|approver/.test(name))).toEqual([]);
  });

  test("nothing is aggregated into the roles that every namespace has", () => {
    const aggregated = SHIPPED.filter(({ metadata }) =>
      Object.keys(metadata.labels ?? {}).some((label) => label.includes("aggregate-to")),
    );
    expect(aggregated).toEqual([]);
  });

  test("there is no webhook, every policy fails closed and denies, and none stands in the way of a deletion", () => {
    expect(SHIPPED.filter(({ kind }) => kind.includes("Webhook"))).toEqual([]);
    const policies = SHIPPED.filter(({ kind }) => kind === "ValidatingAdmissionPolicy");
    const bindings = SHIPPED.filter(({ kind }) => kind === "ValidatingAdmissionPolicyBinding");
    expect(policies.map(({ metadata }) => metadata.name)).toEqual(["turnout-names", "turnout-releases"]);
    expect(policies.map(({ spec }) => spec?.failurePolicy)).toEqual(["Fail", "Fail"]);
    expect(bindings.map(({ spec }) => spec?.validationActions)).toEqual([["Deny"], ["Deny"]]);
    const operations = policies.flatMap(({ spec }) =>
      spec?.matchConstraints?.resourceRules.flatMap((rule) => rule.operations),
    );
    expect(new Set(operations)).toEqual(new Set(["CREATE", "UPDATE"]));
  });
});
