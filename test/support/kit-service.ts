import type { KitOptions } from "../../src/infra/boot/kit.ts";
import { openKit } from "../../src/infra/boot/open-kit.ts";
import { runProcess } from "../../src/infra/boot/run-process.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";

/** A service of the kit as the whole of a process: im-repo 1.2.3, its tree is KIT_FILES. Sets the exit code. */
export async function serveKit(options: Partial<KitOptions> & Pick<KitOptions, "stores" | "servers">): Promise<void> {
  process.exitCode = await runProcess((signal) =>
    openKit(
      {
        service: "im-repo",
        version: "1.2.3",
        instance: "im-repo-0",
        files: process.env.KIT_FILES ?? null,
        snapshots: null,
        ...options,
      },
      {
        clock: systemClock,
        rng: systemRng,
        resolve: () => Promise.reject(new Error("no names here")),
        env: process.env,
        stdout: { fd: 1 },
        stderr: { fd: 2 },
        signal,
      },
    ),
  );
}
