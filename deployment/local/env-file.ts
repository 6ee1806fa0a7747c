/** Shell lines `NAME=value`, quoted where a shell would otherwise read something else. */
export function formatEnv(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${quote(value)}\n`)
    .join("");
}

/** Reads what {@link formatEnv} writes. @throws on any other line: nothing is guessed */
export function parseEnv(text: string): Readonly<Record<string, string>> {
  const values: Record<string, string> = {};
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const [, name, rest] = /^([A-Z][A-Z0-9_]*)=(.*)$/s.exec(line) ?? [];
    const value = rest === undefined ? null : unquote(rest);
    if (name === undefined || value === null) throw new Error(`not a line NAME=value: ${line.slice(0, 40)}`);
    values[name] = value;
  }
  return values;
}

const BARE = /^[\w@%+=:,./-]+$/;

function quote(value: string): string {
  if (/[\n\0]/.test(value)) throw new Error("a value of the environment file may not hold a line break");
  return BARE.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
}

function unquote(text: string): string | null {
  if (BARE.test(text)) return text;
  return /^'(?:[^']|'\\'')*'$/.test(text) ? text.slice(1, -1).replaceAll(`'\\''`, "'") : null;
}
