import type { KubeObject } from "./resource.ts";

export const hasFinalizer = ({ metadata }: KubeObject, name: string): boolean =>
  metadata.finalizers?.includes(name) ?? false;

/** The list with it, in the order that stands; the same list where it was there already. */
export const withFinalizer = ({ metadata }: KubeObject, name: string): readonly string[] => {
  const held = metadata.finalizers ?? [];
  return held.includes(name) ? held : [...held, name];
};

/** The list without it; what others hold stays in its order. */
export const withoutFinalizer = ({ metadata }: KubeObject, name: string): readonly string[] =>
  (metadata.finalizers ?? []).filter((held) => held !== name);

export const isDeleting = ({ metadata }: KubeObject): boolean => metadata.deletionTimestamp !== undefined;
