declare const fence: unique symbol;

/**
 * `EEEEEEEEEE-SSSSSSSS`: epoch (10 digits) and seq (8 digits), zero-padded, so that plain string comparison orders fences in
 * Lua, etcd, SQL and any language (protocol.md). `1795244397-00000009` < `1795244397-00000010`.
 */
export type Fence = string & { readonly [fence]: true };

/** SEC-31: what is compared anywhere must match this, else a text such as `~` would outrank every fence. */
export const FENCE_PATTERN = /^[0-9]{10}-[0-9]{8}$/;

/** Lower than every fence that was ever claimed. */
export const NO_FENCE = "0000000000-00000000" as Fence;

/** @throws Error for values that do not fit: such a fence would order wrongly. */
export function formatFence(epoch: number, seq: number): Fence {
  if (!fits(epoch, 9_999_999_999) || !fits(seq, 99_999_999)) throw new Error(`no fence for ${epoch}-${seq}`);
  return `${String(epoch).padStart(10, "0")}-${String(seq).padStart(8, "0")}` as Fence;
}

export function parseFence(text: string): { readonly epoch: number; readonly seq: number } | null {
  return FENCE_PATTERN.test(text) ? { epoch: Number(text.slice(0, 10)), seq: Number(text.slice(11)) } : null;
}

export const isFence = (text: string): text is Fence => FENCE_PATTERN.test(text);

export const maxFence = (...fences: readonly Fence[]): Fence => fences.reduce((a, b) => (a > b ? a : b), NO_FENCE);

const fits = (value: number, max: number): boolean => Number.isSafeInteger(value) && value >= 0 && value <= max;
