import { lookup } from "node:dns/promises";
import type { Resolve } from "../../lib/seams.ts";

/**
 * The system's resolver, every answer in its order. No search beyond what resolv.conf says, no service records. It cannot be
 * cancelled: the guard bounds how many run at once.
 */
export const systemResolve: Resolve = async (name) => {
  const answers = await lookup(name, { all: true, order: "verbatim" });
  return answers.map(({ address }) => address);
};
