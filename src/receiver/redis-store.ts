import type { ReceiverStore } from "./store.ts";
import { formatRecord, parseRecord } from "./tenant-record.ts";

/** The one command a client must lend: EVAL with a bound on its time. It must not send a command again by itself. */
export interface RedisPort {
  eval(script: string, keys: readonly string[], args: readonly string[]): Promise<unknown>;
}

const LOAD = `return redis.call('HGET', KEYS[1], 'record')`;

/** ARGV: revision, fence, record. Nothing but a well-formed fence is ever compared or stored (SEC-31). */
const SAVE = `
local pattern = '^' .. string.rep('%d', 10) .. '%-' .. string.rep('%d', 8) .. '$'
if not string.match(ARGV[2], pattern) then return redis.error_reply('ERR malformed fence') end
local stored = redis.call('HMGET', KEYS[1], 'revision', 'fence')
if tonumber(stored[1] or '0') ~= tonumber(ARGV[1]) - 1 then return 'changed' end
if stored[2] and stored[2] > ARGV[2] then return 'changed' end
redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'fence', ARGV[2], 'record', ARGV[3])
redis.call('PERSIST', KEYS[1])
return 'stored'`;

const INSPECT = `return redis.call('INFO', 'memory') .. redis.call('INFO', 'persistence')`;

/**
 * For services of several processes whose effect is one and the same (a shared table, say): what one of them applied is in
 * force for all. One hash per tenant, `{prefix}{tenant}`, without expiry.
 *
 * The server must keep what it acknowledged: append-only file with `appendfsync always`, and no fail-over to a replica that
 * may lag. Without an append-only file the store says `durable: false`.
 *
 * @throws Error where the server may evict records, or cannot be asked.
 */
export async function openRedisStore(port: RedisPort, prefix = "turnout:receiver:"): Promise<ReceiverStore> {
  const facts = String(await port.eval(INSPECT, [], []));
  const policy = /^maxmemory_policy:([a-z-]+)\r?$/m.exec(facts)?.[1];
  if (policy === undefined || policy.startsWith("allkeys")) {
    throw new Error(`Redis may evict fences (maxmemory-policy ${policy ?? "unknown"}); set noeviction or volatile-*`);
  }
  return {
    durable: /^aof_enabled:1\r?$/m.test(facts),
    shared: true,
    load: async (tenant) => {
      const record = await port.eval(LOAD, [prefix + tenant], []);
      if (record === null) return null;
      return parseRecord(typeof record === "string" ? record : "", tenant);
    },
    save: async (tenant, next) => {
      const answer = await port.eval(SAVE, [prefix + tenant], [String(next.revision), next.fence, formatRecord(next)]);
      if (answer !== "stored" && answer !== "changed")
        throw new Error("Redis answered something else than the script does");
      return answer;
    },
    close: async () => undefined,
  };
}
