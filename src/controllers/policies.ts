import type { Clock } from "../lib/seams.ts";
import { type Millis, seconds } from "../lib/time.ts";
import { REQUIRED_POLICIES } from "../api/admission.ts";
import { fieldsOf, listOf } from "../api/wire.ts";
import type { KubeClient } from "../kube/client.ts";
import { isNotFound } from "../kube/errors.ts";
import type { KubeObject, Resource } from "../kube/resource.ts";

const admission = (plural: string, kind: string): Resource => ({
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural,
  kind,
  namespaced: false,
});
const POLICIES = admission("validatingadmissionpolicies", "ValidatingAdmissionPolicy");
const BINDINGS = admission("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding");
const NAMESPACES: Resource = { group: "", version: "v1", plural: "namespaces", kind: "Namespace", namespaced: false };

/** How long an answer is believed: a night's approvals must not cost a read each. */
const REMEMBERED: Millis = seconds(5);

/** Asks at most once in five seconds; whoever asks meanwhile shares the answer. */
function remembered<T>(clock: Clock, ask: () => Promise<T>): () => Promise<T> {
  let last: { readonly at: Millis; readonly answer: Promise<T> } | null = null;
  return () => {
    const now = clock.monotonic();
    if (last !== null && now - last.at < REMEMBERED) return last.answer;
    const answer = ask();
    last = { at: now, answer };
    answer.catch(() => (last = null));
    return answer;
  };
}

/** Whether a required admission policy is absent, does not fail closed, or has no binding that denies everywhere (SEC-14). */
export function watchPolicies(client: KubeClient, clock: Clock): () => Promise<boolean> {
  return remembered(clock, async () => {
    const found = await Promise.all(REQUIRED_POLICIES.map((name) => isInForce(client, name)));
    return found.includes(false);
  });
}

async function isInForce(client: KubeClient, name: string): Promise<boolean> {
  const ref = { namespace: null, name };
  const policy = await readOrNull(client, POLICIES, ref);
  const binding = await readOrNull(client, BINDINGS, ref);
  if (policy === null || binding === null) return false;
  const { policyName, validationActions, matchResources } = fieldsOf(binding["spec"]);
  const denies = listOf(validationActions).includes("Deny") && policyName === name && matchResources === undefined;
  return denies && fieldsOf(policy["spec"])["failurePolicy"] === "Fail";
}

async function readOrNull(
  client: KubeClient,
  resource: Resource,
  ref: { namespace: null; name: string },
): Promise<KubeObject | null> {
  try {
    return await client.get(resource, ref);
  } catch (error) {
    if (isNotFound(error)) return null;
    throw error;
  }
}

/** Whether the namespace is being deleted, or gone. */
export function watchNamespaces(client: KubeClient, clock: Clock): (namespace: string) => Promise<boolean> {
  const asked = new Map<string, () => Promise<boolean>>();
  return (name) => {
    const known = asked.get(name);
    if (known !== undefined) return known();
    if (asked.size >= MOST_NAMESPACES) asked.clear();
    const ask = remembered(clock, async () => {
      const namespace = await readOrNull(client, NAMESPACES, { namespace: null, name });
      return namespace === null || namespace.metadata.deletionTimestamp !== undefined;
    });
    asked.set(name, ask);
    return ask();
  };
}
const MOST_NAMESPACES = 1000;
