/**
 * What `record` itself holds under `key`; undefined where it holds nothing. For keys that people choose: an object literal also answers to
 * `constructor`, which is a legal name of a stage and of an endpoint.
 */
export const own = <V>(record: Readonly<Record<string, V>>, key: string): V | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;
