import type { World } from "./world.ts";

// Which worlds are the same.

/** A row of numbers, two characters each. */
export function keyOf({ tasks, tenant, receivers, flights, late, processes, may, past }: World): string {
  let key = number(tenant.id) + number(receivers.id) + number(may.id) + number(past.id);
  for (const { id } of tasks) key += number(id);
  for (const { id } of processes) key += number(id);
  for (const { id } of flights) key += number(id);
  key += "|";
  for (const { id } of late) key += number(id);
  return key;
}

export const HALF = 0x7fff;

export const number = (id: number): string => String.fromCharCode(id & HALF, id >> 15);
