import { chmod, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { InfraError } from "../../../src/lib/infra-error.ts";
import { seconds } from "../../../src/lib/time.ts";
import { aFolder, openRig, settled } from "../../support/config-rig.ts";
import { MemoryCentre } from "../../support/memory-centre.ts";

const KEY = "/config/dev/im-repo/cache";
const json = JSON.stringify;

describe("[R115] [F39] the centre away", () => {
  test("at the start: files are used, it is told with its cause, and the switch over takes at most 5 s", async () => {
    await using folder = await aFolder();
    await folder.put("dev/im-repo/cache.json", json({ db: 1 }));
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 2 }));
    centre.cut("127.0.0.1:2379 refused the connection");
    await using rig = await openRig(centre, { component: "cache", files: folder.path });
    expect(rig.clock.monotonic()).toBeLessThanOrEqual(2100);
    expect([rig.manager.current().db, rig.manager.status().source]).toEqual([1, "file"]);
    expect(rig.manager.check()).toMatchObject({ status: "degraded" });
    expect(rig.manager.check().message).toContain("127.0.0.1:2379 refused the connection");
    expect(await rig.metric('turnout_config_degraded{component="cache"}')).toBe(1);
    expect(rig.lines.some(({ level, message }) => level === "warn" && message === "configuration is degraded")).toBe(
      true,
    );
    await rig.clock.advance(seconds(3600));
    expect(rig.manager.status().stale).toBeGreaterThanOrEqual(3_600_000);
    centre.restore();
    await rig.clock.advance(seconds(5));
    expect([rig.manager.current().db, rig.manager.check().status, rig.manager.status().stale]).toEqual([
      2,
      "healthy",
      0,
    ]);
    expect(await rig.metric('turnout_config_degraded{component="cache"}')).toBe(0);
  });

  test("later: the last values stay, their age grows, and what changed meanwhile comes", async () => {
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 2 }));
    await using rig = await openRig(centre, { component: "cache" });
    centre.cut();
    await settled(rig);
    await rig.clock.advance(seconds(90));
    expect([rig.manager.current().db, rig.manager.status().stale]).toEqual([2, 90_000]);
    expect(await rig.metric('turnout_config_stale_seconds{component="cache"}')).toBe(90);
    expect(rig.manager.status()).toMatchObject({
      source: "centre",
      cause: expect.stringContaining("not heard") as string,
    });
    centre.restore();
    await centre.put(KEY, json({ db: 3 }));
    await rig.clock.advance(seconds(5));
    expect([rig.manager.current().db, rig.manager.check().status]).toEqual([3, "healthy"]);
  });

  test("a centre that refuses is asked again for ever, and counted by type", async () => {
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 2 }));
    const about = {
      component: "coord",
      type: "CONFIG",
      code: "PermissionDenied",
      message: "coord: not yours",
      retryable: false,
    } as const;
    centre.refuse(new InfraError(about));
    await using rig = await openRig(centre, { component: "cache" });
    expect(rig.manager.check().message).toContain("coord: not yours");
    await rig.clock.advance(seconds(60));
    expect(await rig.metric('infra_errors_total{component="config",type="CONFIG"}')).toBeGreaterThanOrEqual(30);
    centre.refuse(null);
    await rig.clock.advance(seconds(5));
    expect(rig.manager.current().db).toBe(2);
  });

  test("a closed manager waits for nothing and watches nothing, whether the centre is there or not", async () => {
    const centre = new MemoryCentre();
    const rig = await openRig(centre, { component: "cache" });
    expect(centre.watching).toBe(2);
    await rig.manager.close();
    await rig.manager.close();
    expect([centre.watching, rig.clock.sleeping]).toEqual([0, 0]);
    centre.cut();
    const other = await openRig(centre, { component: "cache" });
    await other.manager.close();
    expect(other.clock.sleeping).toBe(0);
  });
});

describe("the snapshot", () => {
  const kept = (folder: string): string => join(folder, "dev.im-repo.cache.json");

  test("a start without the centre uses what the centre said last, over the files", async () => {
    await using folder = await aFolder();
    await folder.put("dev/im-repo/cache.json", json({ db: 1, poolSize: 33 }));
    const about = { component: "cache", files: folder.path, snapshots: join(folder.path, "kept") } as const;
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 2 }));
    await (await openRig(centre, about)).manager.close();
    centre.cut();
    await using rig = await openRig(centre, about);
    expect([rig.manager.current().db, rig.manager.current().poolSize]).toEqual([2, 33]);
    expect(rig.manager.status()).toMatchObject({ source: "snapshot", revision: 2 });
    expect(rig.manager.check().message).toContain("snapshot values in force");
  });

  test("[SEC-46] it is 0600 in a folder of 0700, and holds the references as they are", async () => {
    await using folder = await aFolder();
    const snapshots = join(folder.path, "kept");
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ password: { env: "TURNOUT_SECRET_REDIS" } }));
    await (await openRig(centre, { component: "cache", snapshots })).manager.close();
    const modes = [await stat(kept(snapshots)), await stat(snapshots)].map(({ mode }) => (mode & 0o777).toString(8));
    expect(modes).toEqual(["600", "700"]);
    expect(await readFile(kept(snapshots), "utf8")).toContain('"password":{"env":"TURNOUT_SECRET_REDIS"}');
  });

  test.each<readonly [title: string, damage: (text: string) => string]>([
    ["[SEC-46] [disk/torn] [disk/back] torn", (text) => text.slice(0, text.length / 2)],
    ["[SEC-46] changed by hand", (text) => text.replace('"db":2', '"db":9')],
    ["[SEC-46] empty", () => ""],
  ])("%s, a snapshot is refused and shown, and written anew when the centre is heard", async (_title, damage) => {
    await using folder = await aFolder();
    const snapshots = join(folder.path, "kept");
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 2 }));
    await (await openRig(centre, { component: "cache", snapshots })).manager.close();
    const whole = await readFile(kept(snapshots), "utf8");
    await writeFile(kept(snapshots), damage(whole));
    centre.cut();
    await using rig = await openRig(centre, { component: "cache", snapshots });
    expect([rig.manager.current().db, rig.manager.status().source]).toEqual([0, "default"]);
    expect(rig.manager.check().message).toContain("left alone until the centre is heard");
    centre.restore();
    await rig.clock.advance(seconds(5));
    await expect.poll(() => rig.manager.check().status).toBe("healthy");
    expect(rig.manager.current().db).toBe(2);
    expect(await readFile(kept(snapshots), "utf8")).toBe(whole);
  });

  test("[SEC-46] another service's snapshot is refused, whole as it is", async () => {
    await using folder = await aFolder();
    const snapshots = join(folder.path, "kept");
    const centre = new MemoryCentre();
    await centre.put("/config/dev/im-task/cache", json({ db: 2 }));
    await (await openRig(centre, { component: "cache", service: "im-task", snapshots })).manager.close();
    await rename(join(snapshots, "dev.im-task.cache.json"), kept(snapshots));
    centre.cut();
    await using rig = await openRig(centre, { component: "cache", snapshots });
    expect([rig.manager.current().db, rig.manager.status().source]).toEqual([0, "default"]);
    expect(rig.manager.check().message).toContain("belongs to another key than /config/dev/im-repo/cache");
  });

  test("one that cannot be written is told and does not hold up the value", async () => {
    await using folder = await aFolder();
    const file = await folder.put("kept", "a file where the folder should be");
    await chmod(file, 0o400);
    const centre = new MemoryCentre();
    await centre.put(KEY, json({ db: 2 }));
    await using rig = await openRig(centre, { component: "cache", snapshots: file });
    expect(rig.manager.current().db).toBe(2);
    expect(rig.manager.check().message).toContain("cannot be kept on disk");
  });
});
