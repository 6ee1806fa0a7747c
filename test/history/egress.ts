import type { Checker } from "./recording.ts";

/** S16: no socket to an address that the settings do not allow. */
export const egress: Checker = ({ sockets, allowed }) => {
  if (allowed === null) return [];
  const known = new Set(allowed);
  return sockets.flatMap(({ process, address }) =>
    known.has(address) ? [] : [{ id: "S16", says: `${process} connected to ${address}`, order: 0 }],
  );
};
