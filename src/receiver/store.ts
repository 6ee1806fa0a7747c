import type { TenantRecord } from "./tenant-record.ts";

/**
 * Where a receiver remembers. Every store passes test/contract/receiver.stores.test.ts.
 *
 * Guarantees: `save` compares and writes in one step, against every process that shares the store. What `save` reported as
 * stored is there after a crash, if `durable`. A stored fence never falls, whatever is asked.
 */
export interface ReceiverStore {
  /** False: a restart forgets the fences, so that a delayed original may land after its undo (protocol.md, Undo). */
  readonly durable: boolean;
  /** Whether another process may be working on the same records. */
  readonly shared: boolean;
  /** @throws Error where the store cannot be read or holds a damaged record. */
  load(tenant: string): Promise<TenantRecord | null>;
  /**
   * Stores `next` iff the stored revision is the one before `next.revision` (none, for 1) and the stored fence is not greater.
   * @throws Error where nobody knows whether it was stored.
   */
  save(tenant: string, next: TenantRecord): Promise<"stored" | "changed">;
  close(): Promise<void>;
}
