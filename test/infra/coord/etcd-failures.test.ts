import { expect, test } from "vitest";
import { codeOfStatus } from "../../../src/infra/coord/etcd-failures.ts";

/** gRPC status and text as etcd 3.6 sends them (api/v3rpc/rpctypes/error.go). */
const ROWS: readonly (readonly [status: number, text: string, code: string])[] = [
  [1, "context canceled", "AnswerLost"],
  [3, "etcdserver: authentication failed, invalid user ID or password", "AuthRefused"],
  [3, "etcdserver: revision of auth store is old", "TokenStale"],
  [3, "etcdserver: too many operations in txn request", "TooManyOperations"],
  [3, "etcdserver: request is too large", "TooLarge"],
  [3, "etcdserver: user name is empty", "AuthNeeded"],
  [3, "etcdserver: key is not provided", "Refused"],
  [4, "context deadline exceeded", "AnswerLost"],
  [5, "etcdserver: requested lease not found", "LeaseLost"],
  [5, "etcdserver: member not found", "Refused"],
  [7, "etcdserver: permission denied", "PermissionDenied"],
  [8, "etcdserver: mvcc: database space exceeded", "NoSpace"],
  [8, "etcdserver: too many requests", "Unavailable"],
  [9, "etcdserver: authentication is not enabled", "AuthOff"],
  [9, "etcdserver: lease already exists", "Refused"],
  [11, "etcdserver: mvcc: required revision has been compacted", "Compacted"],
  [11, "etcdserver: mvcc: required revision is a future revision", "FutureRevision"],
  [14, "etcdserver: no leader", "Unavailable"],
  [14, "etcdserver: request timed out, possibly due to connection lost", "AnswerLost"],
  [16, "etcdserver: invalid auth token", "TokenStale"],
  [2, "anything else", "Refused"],
];

test.each(ROWS)("[R133] status %s, %s: %s", (status, text, code) => {
  expect(codeOfStatus(status, text)).toBe(code);
});

test("no row is lost", () => expect(ROWS).toHaveLength(21));
