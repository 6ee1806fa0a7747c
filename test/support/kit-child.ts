import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { serveKit } from "./kit-service.ts";

/**
 * A service of nothing but the kit: KIT_FILES is its tree, KIT_HANGS makes its server never close; with KIT_WHOLE it has every
 * component, and is registered.
 */
const isWhole = process.env.KIT_WHOLE !== undefined;
await serveKit({
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
});
