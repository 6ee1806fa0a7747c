import type { Rng } from "../../lib/seams.ts";
import type { CacheSettings } from "../config/cache-settings.ts";
import type { ReadOptions, WriteOptions } from "./cache.ts";
import { jittered, keyNames } from "./cache-keys.ts";
import { WRITE_WITH_LIFE } from "./cache-scripts.ts";
import type { CommandRunner } from "./command-runner.ts";
import type { Argument, RawValue } from "./redis-client.ts";

/** Commands on the cache's keys, under their prefix. All of these may be sent twice. */
export interface Sender {
  command(name: string, key: string, rest: readonly Argument[], options?: ReadOptions): Promise<RawValue>;
  /** The write and the key's new life in one step. */
  write(name: string, key: string, rest: readonly Argument[], options?: WriteOptions): Promise<RawValue>;
  script(asked: ScriptCall, options?: ReadOptions): Promise<RawValue>;
  /** Milliseconds that a value written now is to live. */
  life(options?: WriteOptions): number;
}
export interface ScriptCall {
  readonly name: string;
  readonly lua: string;
  /** As Redis knows them. */
  readonly keys: readonly string[];
  readonly args: readonly Argument[];
  readonly repeatable: boolean;
}

export interface SenderDeps {
  readonly runner: CommandRunner;
  readonly settings: () => CacheSettings;
  readonly rng: Rng;
}

export function openSender({ runner, settings, rng }: SenderDeps): Sender {
  const names = keyNames(settings().keyPrefix);
  const life = ({ ttl = settings().defaultTtl }: WriteOptions = {}): number =>
    jittered(ttl, settings().ttlJitter, rng.float());
  const script = (asked: ScriptCall, { signal = never }: ReadOptions = {}): Promise<RawValue> =>
    runner.run({
      name: asked.name,
      key: asked.keys[0] ?? "",
      repeatable: asked.repeatable,
      signal,
      send: (client) => client.evaluateRaw(asked.lua, [asked.keys.length, ...asked.keys, ...asked.args]),
    });
  return {
    life,
    script,
    command: async (name, key, rest, { signal = never } = {}) => {
      const full = names.value(key);
      return runner.run({
        name,
        key: full,
        repeatable: true,
        signal,
        send: (client) => client.sendRaw([name, full, ...rest]),
      });
    },
    write: async (name, key, rest, options) =>
      script(
        {
          name,
          lua: WRITE_WITH_LIFE,
          keys: [names.value(key)],
          args: [name, life(options), ...rest],
          repeatable: true,
        },
        options,
      ),
  };
}

/** Of callers who bring none: calls are bounded without it. */
const never = new AbortController().signal;
