/** Prefix of the records that redis stages keep beside the data (stages.md): reserved, no policy opens it. */
export const RECORD_PREFIX = "turnout:";

/** Key of the record beside `key`, in the same cluster slot: `turnout:{<hash tag of key, else key>}:<key>`. */
export function companionKey(key: string): string {
  const open = key.indexOf("{");
  const close = key.indexOf("}", open + 1);
  // Redis Cluster specification: the first non-empty {…} is hashed; without one the whole key.
  const tag = open >= 0 && close > open + 1 ? key.slice(open + 1, close) : key;
  return `${RECORD_PREFIX}{${tag}}:${key}`;
}
