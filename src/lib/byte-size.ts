const UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
const SIZE = /^(\d{1,9})(B|KiB|MiB|GiB)$/;

/** `16KiB`, `100MiB`, `512B` → bytes; null where the text is no size or larger than 1024 GiB. A bare number is none. */
export function parseByteSize(text: string): number | null {
  const [, amount, unit] = SIZE.exec(text) ?? [];
  if (amount === undefined || unit === undefined) return null;
  const bytes = Number(amount) * (UNITS[unit] ?? Number.NaN);
  return bytes <= 1024 ** 4 ? bytes : null;
}

/** The text with the largest unit that {@link parseByteSize} reads back to the same value. */
export function formatByteSize(bytes: number): string {
  const fitting = Object.entries(UNITS).filter(([, size]) => bytes >= size && bytes % size === 0);
  const [unit, size] = fitting.at(-1) ?? ["B", 1];
  return `${bytes / size}${unit}`;
}
