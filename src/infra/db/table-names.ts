import { hexDigest } from "../../lib/digest.ts";
import type { DbSettings } from "../config/db-settings.ts";
import type { Names } from "./db.ts";
import { dbError } from "./db-failures.ts";

export interface TableNames extends Names {
  readonly shard: (name: string, key: string | null | undefined) => string;
}

/** MySQL takes no more (Reference Manual, "Identifier Length Limits"). */
const MOST_LENGTH = 64;
const NAME = /^[A-Za-z][A-Za-z0-9_]*$/;

/** `PREFIXname`, `PREFIXname_07`. Which shard a key has depends on the key and their number alone, for ever. */
export function tableNames({
  driver,
  tablePrefix,
  shards,
}: Pick<DbSettings, "driver" | "tablePrefix" | "shards">): TableNames {
  const table = (name: string): string => {
    const whole = `${tablePrefix}${name}`;
    if (!NAME.test(name) || whole.length + 3 > MOST_LENGTH) throw dbError("BadName", JSON.stringify(name.slice(0, 80)));
    return whole;
  };
  const numbered = (name: string, number: number): string => `${table(name)}_${String(number).padStart(2, "0")}`;
  return {
    driver,
    table,
    shards: (name) => Array.from({ length: shards }, (_, number) => numbered(name, number)),
    shard: (name, key) => {
      if (typeof key !== "string" || key === "") throw dbError("ShardKeyMissing", table(name));
      return numbered(name, Number.parseInt(hexDigest(key).slice(0, 8), 16) % shards);
    },
  };
}
