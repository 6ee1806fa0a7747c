import { describe, expect, test } from "vitest";
import { cliOver } from "../support/config-cli-rig.ts";
import { MemoryCentre } from "../support/memory-centre.ts";

const KEY = "/config/dev/im-repo/cache";
const json = JSON.stringify;

describe("[R106] history and rollback", () => {
  async function written(): Promise<MemoryCentre> {
    const centre = new MemoryCentre();
    for (const db of [1, 2, 3]) {
      await centre.put(KEY, json({ db }));
      await centre.put("/config/dev/im-repo/clog", json({ maxBackups: db }));
    }
    return centre;
  }

  test("what stood there is shown newest first, and brought back as a new revision", async () => {
    const centre = await written();
    const { out } = await cliOver(centre).run("history", KEY);
    expect(out).toBe("r6 version 3\n  ~ db: 2 → 3\nr4 version 2\n  ~ db: 1 → 2\nr2 version 1\n  + db: 1\n");
    const back = await cliOver(centre).run("rollback", KEY, "--to", "3", "--yes");
    expect([back.code, back.out]).toEqual([0, "~ db: 3 → 1\n"]);
    expect((await centre.get(KEY))?.value).toBe('{"db":1}');
  });

  test("a key that was deleted has its history still, and comes back", async () => {
    const centre = await written();
    await centre.delete(KEY);
    for (let i = 0; i < 40; i += 1) await centre.put("/config/dev/im-repo/clog", json({ maxBackups: i }));
    const { out } = await cliOver(centre).run("history", KEY);
    expect(out).toMatch(/^r8 deleted\n {2}- db: 3\nr6 version 3\n/);
    await cliOver(centre).run("rollback", KEY, "--to", "6", "--yes");
    expect((await centre.get(KEY))?.value).toBe('{"db":3}');
  });

  test("what is compacted away is said; a value that is no longer valid is not brought back", async () => {
    const centre = await written();
    centre.compact(4);
    const { out, talk } = await cliOver(centre).run("history", KEY);
    expect([out.match(/version/g)?.length, talk]).toEqual([
      2,
      expect.stringContaining("what was before is compacted away") as string,
    ]);
    expect(out).toBe("r6 version 3\n  ~ db: 2 → 3\nr4 version 2\n  = db: 2\n");
    expect(await cliOver(centre).run("rollback", KEY, "--to", "2", "--yes")).toMatchObject({ code: 1 });
    await centre.put(KEY, json({ db: 99 }));
    const bad = centre.revision;
    await centre.put(KEY, json({ db: 1 }));
    const refused = await cliOver(centre).run("rollback", KEY, "--to", String(bad), "--yes");
    expect([refused.code, refused.talk]).toEqual([
      1,
      expect.stringContaining("99 is not a whole number from 0 to 15") as string,
    ]);
  });

  test("earlier lives belong to it, and a limit cuts the list, not the difference of its last entry", async () => {
    const centre = await written();
    await centre.delete(KEY);
    await centre.put(KEY, json({ db: 9 }));
    const all = await cliOver(centre).run("history", KEY);
    expect(all.out.split("\n").filter((line) => line.startsWith("r"))).toEqual([
      "r9 version 1",
      "r8 deleted",
      "r6 version 3",
      "r4 version 2",
      "r2 version 1",
    ]);
    const cut = await cliOver(centre).run("history", KEY, "--limit", "3");
    expect([cut.out, cut.talk]).toEqual([
      "r9 version 1\n  + db: 9\nr8 deleted\n  - db: 3\nr6 version 3\n  ~ db: 2 → 3\n",
      expect.stringContaining("older ones are left out; --limit shows up to 200") as string,
    ]);
    expect(await cliOver(centre).json("history", KEY, "--limit", "2")).toEqual([
      { revision: 9, kind: "put", version: 1, value: { db: 9 } },
      { revision: 8, kind: "delete", version: null, value: null },
    ]);
  });

  test("a tenant's history may be read, and is not rolled back by hand", async () => {
    const centre = new MemoryCentre();
    const tenant = "/config/dev/im-gateway/tenants/ns/acme";
    await centre.put(tenant, json({ unit: "blue" }));
    expect(await cliOver(centre).run("history", tenant)).toEqual({
      code: 0,
      out: 'r2 version 1\n  + unit: "blue"\n',
      talk: "",
    });
    expect((await cliOver(centre).run("rollback", tenant, "--to", "2", "--yes")).code).toBe(2);
  });

  test("a revision that is not known is told with key and way out", async () => {
    const centre = await written();
    centre.compact(4);
    const see = `see: config-cli history ${KEY}\n`;
    expect(await cliOver(centre).run("rollback", KEY, "--to", "9999", "--yes")).toMatchObject({
      code: 2,
      talk: `${KEY}: revision 9999 does not exist yet; ${see}`,
    });
    expect(await cliOver(centre).run("rollback", KEY, "--to", "2", "--yes")).toMatchObject({
      code: 1,
      talk: `${KEY}: revision 2 is compacted away; ${see}`,
    });
  });

  test("nobody to ask means no; --dry-run shows; what is as it was is left alone", async () => {
    const centre = await written();
    const { revision } = centre;
    expect(await cliOver(centre).run("rollback", KEY, "--to", "2")).toMatchObject({ code: 2, out: "~ db: 3 → 1\n" });
    expect(await cliOver(centre).run("rollback", KEY, "--to", "2", "--dry-run")).toMatchObject({ code: 0 });
    expect(await cliOver(centre).run("rollback", KEY, "--to", "6", "--yes")).toMatchObject({ code: 0, out: "" });
    expect(centre.revision).toBe(revision);
  });

  test("somebody else's write between the look and the rollback is not written over", async () => {
    const centre = new (class extends MemoryCentre {
      #looked = 0;
      override async get(key: string): ReturnType<MemoryCentre["get"]> {
        this.#looked += 1;
        if (this.#looked === 2) await this.put(KEY, json({ db: 7 }));
        return await super.get(key);
      }
    })();
    for (const db of [1, 2]) await centre.put(KEY, json({ db }));
    expect(await cliOver(centre).run("rollback", KEY, "--to", "2", "--yes")).toMatchObject({ code: 4 });
    expect((await centre.get(KEY))?.value).toBe('{"db":7}');
  });
});
