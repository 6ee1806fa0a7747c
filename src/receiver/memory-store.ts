import type { ReceiverStore } from "./store.ts";
import type { TenantRecord } from "./tenant-record.ts";

/** For tests: it forgets every fence with the process, and says so. */
export function openMemoryStore(): ReceiverStore {
  const records = new Map<string, TenantRecord>();
  return {
    durable: false,
    shared: false,
    load: async (tenant) => records.get(tenant) ?? null,
    save: async (tenant, next) => {
      const stored = records.get(tenant);
      if ((stored?.revision ?? 0) !== next.revision - 1) return "changed";
      if (stored !== undefined && stored.fence > next.fence) return "changed";
      records.set(tenant, next);
      return "stored";
    },
    close: async () => records.clear(),
  };
}
