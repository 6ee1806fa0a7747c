import { etcdCentre } from "./etcd-centre.ts";
import type { ExtraServer } from "./extra.ts";
import { kafka } from "./kafka.ts";
import { mariadb } from "./mariadb.ts";
import { prometheus } from "./prometheus.ts";
import { redis } from "./redis.ts";

/** Servers that an environment has on demand, by the word after `--with`. */
export const EXTRA_SERVERS = { redis, etcd: etcdCentre, mariadb, kafka, prometheus } as const satisfies Record<
  string,
  ExtraServer
>;
export type Extra = keyof typeof EXTRA_SERVERS;
export const EXTRAS = Object.keys(EXTRA_SERVERS) as readonly Extra[];
