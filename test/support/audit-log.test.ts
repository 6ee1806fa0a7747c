import { mkdtemp, rm, writeFile, appendFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { gapsIn, openAuditLog } from "./audit-log.ts";
import type { Version } from "./stand-record.ts";

const line = (rv: number, about: Readonly<Record<string, unknown>> = {}, kind = "SwitchTask", code = 200): string =>
  `${JSON.stringify({
    level: "RequestResponse",
    objectRef: { resource: kind === "TenantState" ? "tenantstates" : "switchtasks", namespace: "a", name: "täsk" },
    responseStatus: { code },
    responseObject: { kind, metadata: { namespace: "a", name: "täsk", resourceVersion: String(rv), ...about } },
  })}\n`;

const version = (rv: number, about: Readonly<Record<string, unknown>> = {}): Version => ({
  object: {
    kind: "SwitchTask",
    metadata: { namespace: "a", name: "täsk", uid: "u", resourceVersion: String(rv), ...about },
  },
  deleted: false,
  seen: 0,
  idle: 0,
});

test("of a log that grows, what was stored since it was opened is read once and whole", async () => {
  const folder = await mkdtemp(join(tmpdir(), "turnout-audit-"));
  try {
    const path = join(folder, "audit.log");
    await writeFile(path, line(1));
    const log = await openAuditLog(path);
    const versions = async (): Promise<readonly (number | null)[]> =>
      ((await log?.stored(new Set(["a"]))) ?? []).map(({ rv }) => rv);
    expect(await versions()).toEqual([]);
    await appendFile(path, line(2) + line(3, {}, "Status") + line(4, {}, "TenantState", 409) + line(5).slice(0, 40));
    expect(await versions()).toEqual([2]);
    await appendFile(path, line(5).slice(40) + line(6, { namespace: "b" }));
    expect(await versions()).toEqual([2, 5]);
    await appendFile(path, line(7, {}, "Status", 504));
    expect(await versions()).toEqual([2, 5, null]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("where the API server keeps no log, there is none", async () => {
  expect(await openAuditLog(undefined)).toBeNull();
});

const logged = (rv: number | null, deleting = false) => ({
  namespace: "a",
  kind: "SwitchTask",
  name: "task",
  rv,
  deleting,
});
const DELETING = { deletionTimestamp: "2026-01-01T00:00:00Z" };

test("[T22] a version that one of both does not know is a gap", () => {
  expect(gapsIn([logged(1), logged(2)], [version(1), version(2)])).toEqual([]);
  expect(gapsIn([logged(1), logged(2)], [version(1)])).toEqual([expect.stringContaining("told nothing of version 2")]);
  expect(gapsIn([logged(1)], [version(1), version(2)])).toEqual([expect.stringContaining("no write of version 2")]);
});

test("[T22] the last write of an object that goes is told as its deletion, under another version", () => {
  const gone = { ...version(5, DELETING), deleted: true };
  expect(gapsIn([logged(3), logged(4, true)], [version(3), version(4, DELETING), gone])).toEqual([]);
});

test("[T22] a write whose asker was gone before the answer accounts for one version of its object, and for no other", () => {
  const cut = { ...logged(null), name: "täsk" };
  expect(gapsIn([logged(1), cut], [version(1), version(2)])).toEqual([]);
  expect(gapsIn([logged(1), cut], [version(1)])).toEqual([]);
  expect(gapsIn([cut], [version(1), version(2)])).toEqual([expect.stringContaining("no write of version 2")]);
  expect(gapsIn([{ ...cut, name: "other" }], [version(1)])).toHaveLength(1);
  expect(gapsIn([{ ...cut, namespace: "b" }], [version(1)])).toHaveLength(1);
});
