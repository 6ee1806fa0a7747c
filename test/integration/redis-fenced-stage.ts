import type { JsonObject } from "../../src/lib/json.ts";
import type { Boundary } from "../../src/lib/seams.ts";
import { openRedisStage, type RedisStage, type RedisStageAbout } from "../support/stage-rig-redis.ts";

export const HASH: JsonObject = { hash: { fields: { unit: "${target.deployUnit.name}" } }, versionField: "version" };

export const open = (about: Partial<RedisStageAbout> = {}): Promise<RedisStage> =>
  openRedisStage({ config: HASH, ...about });

/** Acts before the next mutating command is sent, or after its answer came. */
export function around(hooks: { before?: () => Promise<unknown>; after?: () => Promise<unknown> }): Boundary {
  let spent = false;
  return {
    around: async (_point, send) => {
      if (spent) return send();
      spent = true;
      await hooks.before?.();
      const result = await send();
      await hooks.after?.();
      return result;
    },
  };
}
