import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { runProcess } from "../../src/infra/boot/run-process.ts";
import { openKit } from "../../src/infra/boot/open-kit.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";

/**
 * A service of nothing but the kit: KIT_FILES is its tree, KIT_HANGS makes its server never close; with KIT_WHOLE it has every
 * component, and is registered.
 */
const isWhole = process.env.KIT_WHOLE !== undefined;
process.exitCode = await runProcess((signal) =>
  openKit(
    {
      service: "im-repo",
      version: "1.2.3",
      instance: "im-repo-0",
      files: process.env.KIT_FILES ?? null,
      snapshots: null,
      stores: { cache: "required", db: "required", ...(isWhole ? { mq: "required" } : {}) },
      ...(isWhole ? { registered: { host: "127.0.0.1", labels: { unit: "blue" } } } : {}),
      servers: () => [
        {
          name: "web",
          open: async () => {
            const server = createServer((_request, response) => response.end());
            await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
            const close = (): Promise<void> => new Promise((resolve) => server.close(() => resolve()));
            const { port } = server.address() as AddressInfo;
            return { port, close: process.env.KIT_HANGS === undefined ? close : () => new Promise(() => undefined) };
          },
        },
      ],
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
