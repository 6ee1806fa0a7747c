import { describe, expect, test } from "vitest";
import { instanceOf, keepRegistered } from "../../../src/infra/boot/kit-registration.ts";
import { openLog } from "../../../src/infra/clog/log.ts";
import { coordSettings } from "../../../src/infra/config/coord-settings.ts";
import type { Coord, Instance } from "../../../src/infra/coord/coord.ts";
import { millisOf, seconds } from "../../../src/lib/time.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const ABOUT = {
  service: "im-repo",
  instance: "im-repo-0",
  version: "1.2.3",
  environment: "test",
  registered: { host: "10.0.0.7", labels: { unit: "blue", version: "none of theirs" } },
  port: 8090,
};

describe("[R108] as what a process is registered", () => {
  const ROWS: readonly (readonly [what: string, raw: object, about: object, address: string])[] = [
    ["where its first server listens", {}, {}, "10.0.0.7:8090"],
    ["where the settings say", { servicePort: 80 }, {}, "10.0.0.7:80"],
    ["where the settings say, though no server does", { servicePort: 80 }, { port: null }, "10.0.0.7:80"],
    ["IPv6 in brackets", {}, { registered: { host: "fd00::7" } }, "[fd00::7]:8090"],
  ];
  test.each(ROWS)("%s", (_what, raw, about, address) => {
    expect(instanceOf(coordSettings.parse(raw), { ...ABOUT, ...about }).address).toBe(address);
  });

  test("its names are the settings', else its own; labels of ours cannot be taken", () => {
    expect(instanceOf(coordSettings.parse({}), ABOUT)).toMatchObject({
      service: "im-repo",
      id: "im-repo-0",
      labels: { unit: "blue", version: "1.2.3", environment: "test" },
    });
    const named = coordSettings.parse({ serviceName: "other", serviceVersion: "9" });
    expect(instanceOf(named, ABOUT)).toMatchObject({ service: "other", labels: { version: "9" } });
  });

  test("no port at all is an error that names the field", () => {
    expect(() => instanceOf(coordSettings.parse({}), { ...ABOUT, port: null })).toThrow(
      /^coord\.servicePort is missing/,
    );
  });
});

/** A coord that answers as it is told, and counts. */
function rig(answers: readonly ("refuses" | "takes" | "hangs")[]) {
  const clock = new ManualClock();
  const seen = { asked: 0, closed: 0, standing: true };
  const register = async (instance: Instance, _ttl: number, signal?: AbortSignal): ReturnType<Coord["register"]> => {
    const answer = answers[Math.min(seen.asked, answers.length - 1)];
    seen.asked += 1;
    if (answer === "refuses") throw new Error("no");
    if (answer === "hangs")
      await new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(new Error("ended"))));
    const close = async (): Promise<void> => void (seen.closed += 1);
    return {
      instance,
      close,
      get standing() {
        return seen.standing;
      },
      [Symbol.asyncDispose]: close,
    };
  };
  const log = openLog({ level: "error", clock, destination: { write: () => undefined } });
  const rng = { float: () => 1, id: () => "id" };
  const coord = { register } as unknown as Coord;
  const instance = instanceOf(coordSettings.parse({}), ABOUT);
  return { clock, seen, kept: keepRegistered(instance, seconds(60), { coord, clock, rng, log }) };
}

describe("[R124] a process stays registered", () => {
  test("it is tried again until etcd takes it, with growing waits; meanwhile its health says why not", async () => {
    const { clock, seen, kept } = rig(["refuses", "refuses", "takes"]);
    await clock.advance(millisOf(0));
    expect(kept.check()).toMatchObject({
      status: "degraded",
      message: expect.stringMatching(/^not registered: coord /),
    });
    await clock.advance(millisOf(200));
    expect(seen.asked).toBe(2);
    await clock.advance(millisOf(399));
    expect(seen.asked).toBe(2);
    await clock.advance(millisOf(1));
    await kept.shown();
    expect(kept.check()).toEqual({ status: "healthy", message: "registered as im-repo/im-repo-0 at 10.0.0.7:8090" });
    seen.standing = false;
    expect(kept.check()).toEqual({ status: "degraded", message: "not registered: the lease was lost" });
    await kept.close();
    await kept.close();
    expect(seen.closed).toBeGreaterThan(0);
  });

  test("whoever starts waits a second for it and no longer; the end cuts the try short", async () => {
    const { clock, seen, kept } = rig(["hangs"]);
    let shown = false;
    const waiting = kept.shown().then(() => (shown = true));
    await clock.advance(millisOf(999));
    expect(shown).toBe(false);
    await clock.advance(millisOf(1));
    await waiting;
    expect(kept.check()).toMatchObject({ status: "degraded", message: "not registered: etcd gave no answer yet" });
    await kept.close();
    expect(seen).toMatchObject({ asked: 1, closed: 0 });
  });
});
