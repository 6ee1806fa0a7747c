import type { Json } from "../../lib/json.ts";
import type { Hashes, Scored, SortedSets, Sets } from "./cache.ts";
import { cacheError } from "./cache-failures.ts";
import { bounded } from "./cache-keys.ts";
import type { Sender } from "./cache-sender.ts";
import type { RawValue } from "./redis-client.ts";

export interface Codec {
  encode(value: Json, at: string): Promise<Buffer>;
  decode(bytes: Buffer, at: string): Promise<Json>;
}

export function openHashes(sender: Sender, codec: Codec): Hashes {
  return {
    get: async (key, field, options) => {
      const found = await sender.command("HGET", key, [field], options);
      return Buffer.isBuffer(found) ? codec.decode(found, `HGET ${key}`) : undefined;
    },
    all: async (key, options) => {
      const fields = new Map<string, Json>();
      for (const [field, value] of pairs(await sender.command("HGETALL", key, [], options)))
        fields.set(String(field), await codec.decode(bytesOf(value), `HGETALL ${key}`));
      return fields;
    },
    set: async (key, fields, options) => {
      const args: (string | Buffer)[] = [];
      for (const [field, value] of bounded(Object.entries(fields), `HSET ${key}`))
        args.push(field, await codec.encode(value, `HSET ${key}`));
      if (args.length > 0) await sender.write("HSET", key, args, options);
    },
    delete: async (key, fields, options) =>
      fields.length === 0 ? 0 : count(await sender.command("HDEL", key, bounded(fields, `HDEL ${key}`), options)),
  };
}

export function openSets(sender: Sender): Sets {
  return {
    add: async (key, members, options) =>
      members.length === 0 ? 0 : count(await sender.write("SADD", key, bounded(members, `SADD ${key}`), options)),
    remove: async (key, members, options) =>
      members.length === 0 ? 0 : count(await sender.command("SREM", key, bounded(members, `SREM ${key}`), options)),
    has: async (key, member, options) => count(await sender.command("SISMEMBER", key, [member], options)) === 1,
    members: async (key, options) => listOf(await sender.command("SMEMBERS", key, [], options)).map(String),
    size: async (key, options) => count(await sender.command("SCARD", key, [], options)),
  };
}

export function openSortedSets(sender: Sender): SortedSets {
  return {
    add: async (key, members, options) => {
      const args = bounded(members, `ZADD ${key}`).flatMap(({ member, score }) => [scoreText(score, key), member]);
      return args.length === 0 ? 0 : count(await sender.write("ZADD", key, args, options));
    },
    remove: async (key, members, options) =>
      members.length === 0 ? 0 : count(await sender.command("ZREM", key, bounded(members, `ZREM ${key}`), options)),
    score: async (key, member, options) => {
      const found = await sender.command("ZSCORE", key, [member], options);
      return found === null ? undefined : Number(String(found));
    },
    range: async (key, { from, to }, options) =>
      pairs(await sender.command("ZRANGE", key, [from, to, "WITHSCORES"], options)).map(([member, score]): Scored => ({
        member: String(member),
        score: Number(String(score)),
      })),
    removeUpTo: async (key, score, options) =>
      count(await sender.command("ZREMRANGEBYSCORE", key, ["-inf", scoreText(score, key)], options)),
    size: async (key, options) => count(await sender.command("ZCARD", key, [], options)),
  };
}

export const count = (reply: RawValue): number => (typeof reply === "number" ? reply : 0);

const listOf = (reply: RawValue): readonly RawValue[] => (Array.isArray(reply) ? reply : []);
const bytesOf = (value: RawValue): Buffer => (Buffer.isBuffer(value) ? value : Buffer.from(String(value)));

function pairs(reply: RawValue): readonly (readonly [RawValue, RawValue])[] {
  const flat = listOf(reply);
  return Array.from({ length: Math.floor(flat.length / 2) }, (_, i) => [flat[i * 2] ?? null, flat[i * 2 + 1] ?? null]);
}

function scoreText(score: number, key: string): string {
  if (Number.isFinite(score)) return String(score);
  throw cacheError("ScoreInvalid", key);
}
