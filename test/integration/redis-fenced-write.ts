import type { Outcome } from "../../src/domain/task.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { openRedisStage, type RedisStage, type RedisStageAbout } from "../support/stage-rig-redis.ts";

export const open = (config: JsonObject, about: Partial<RedisStageAbout> = {}): Promise<RedisStage> =>
  openRedisStage({ config, ...about });

/** Run under claim 10. */
export const run = ({ stage }: RedisStage): Promise<Outcome> => stage.run({ seq: 10, base: 1 });
type Drift = "Hold" | "Overwrite" | "Keep";
export const undo = ({ stage }: RedisStage, onDrift: Drift = "Hold", seq = 20): Promise<Outcome> =>
  stage.undo({ seq, base: seq === 20 ? 10 : seq - 1, onDrift });
