import { expect, test } from "vitest";
import { formatRecord, parseRecord } from "../../src/receiver/tenant-record.ts";
import { aRecord, TENANT } from "../support/receiver-build.ts";

test.each([
  ["in force", aRecord()],
  ["failed", aRecord({ unsettled: "failed", opId: "later" })],
  ["never in force", aRecord({ unsettled: "running", inForce: null })],
])("a record that is %s reads back as it was", (_what, record) => {
  expect(parseRecord(formatRecord(record), TENANT)).toEqual(record);
});

test.each([
  ["nothing", ""],
  ["null", "null"],
  ["half a record", formatRecord(aRecord()).slice(0, 40)],
  ["no fence", JSON.stringify({ ...aRecord(), fence: undefined })],
  ["a malformed fence", JSON.stringify({ ...aRecord(), fence: "~" })],
  ["a revision of 0", JSON.stringify({ ...aRecord(), revision: 0 })],
  ["what a newer release added", JSON.stringify({ ...aRecord(), later: 1 })],
])("[SEC-31] a stored record with %s is an error, never an absent one", (_what, text) => {
  expect(() => parseRecord(text, TENANT)).toThrow(/record of prod\/acme is damaged/);
});
