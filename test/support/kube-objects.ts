import type { KubeObject, ObjectMeta, Resource } from "../../src/kube/resource.ts";

/** What unit tests of the runtime move about: a kind of no meaning. */
export const WIDGETS: Resource = {
  group: "test.kube-runtime.local",
  version: "v1",
  plural: "widgets",
  kind: "Widget",
  namespaced: true,
};
export const WIDGETS_PATH = "/apis/test.kube-runtime.local/v1/widgets";
export const widgetPath = (name: string, namespace = "ns"): string =>
  `/apis/test.kube-runtime.local/v1/namespaces/${namespace}/widgets/${name}`;

interface About {
  readonly namespace?: string;
  readonly uid?: string;
  readonly metadata?: Partial<ObjectMeta>;
  readonly spec?: unknown;
  readonly status?: unknown;
}

/** `ns/NAME` at that resourceVersion; its uid is `uid-NAME` unless said. */
export function aWidget(name: string, version: number | string, about: About = {}): KubeObject {
  const { namespace = "ns", uid = `uid-${name}`, metadata, ...rest } = about;
  return {
    apiVersion: "test.kube-runtime.local/v1",
    kind: "Widget",
    metadata: { name, namespace, uid, resourceVersion: String(version), ...metadata },
    ...rest,
  };
}

export const added = (object: KubeObject): unknown => ({ type: "ADDED", object });
export const modified = (object: KubeObject): unknown => ({ type: "MODIFIED", object });
export const deleted = (object: KubeObject): unknown => ({ type: "DELETED", object });
export const bookmark = (version: number | string, isInitialEnd = false): unknown => ({
  type: "BOOKMARK",
  object: {
    kind: "Widget",
    metadata: {
      resourceVersion: String(version),
      ...(isInitialEnd ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}),
    },
  },
});

export const aList = (version: number | string, items: readonly KubeObject[], token = ""): unknown => ({
  kind: "WidgetList",
  metadata: { resourceVersion: String(version), ...(token === "" ? {} : { continue: token }) },
  items,
});
