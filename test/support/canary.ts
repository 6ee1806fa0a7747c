import { randomBytes } from "node:crypto";

/** A value that may turn up nowhere: unlike anything that a program writes by itself. */
export const aCanary = (): string => `canary-${randomBytes(18).toString("base64url")}-+/=%"\\`;

/** Ways in which a secret survives on its way into an output. */
export const ENCODINGS = {
  raw: (secret: string) => [secret],
  json: (secret: string) => [JSON.stringify(secret).slice(1, -1), JSON.stringify(JSON.stringify(secret)).slice(3, -3)],
  percent: (secret: string) => [
    encodeURIComponent(secret),
    encodeURI(secret),
    new URLSearchParams({ s: secret }).toString().slice(2),
  ],
  hex: (secret: string) => [Buffer.from(secret).toString("hex"), Buffer.from(secret).toString("hex").toUpperCase()],
  base64: (secret: string) => base64Windows(secret),
} as const satisfies Readonly<Record<string, (secret: string) => readonly string[]>>;
export type Encoding = keyof typeof ENCODINGS;

export interface Find {
  readonly encoding: Encoding;
  /** Where in the text it begins; the secret itself is not repeated. */
  readonly at: number;
}

/** Every place where one of the secrets stands, in any encoding. */
export function findCanaries(text: string, secrets: readonly string[]): readonly Find[] {
  return secrets.flatMap((secret) =>
    Object.entries(ENCODINGS).flatMap(([encoding, encode]) =>
      [...new Set(encode(secret))]
        .map((form) => ({ encoding: encoding as Encoding, at: text.indexOf(form) }))
        .filter(({ at }) => at >= 0)
        .slice(0, 1),
    ),
  );
}

/**
 * Base64 depends on where the secret begins in what was encoded (a user name may stand before it): the middle of each of the
 * three alignments, in both alphabets.
 */
function base64Windows(secret: string): string[] {
  return [0, 1, 2].flatMap((shift) => {
    const bytes = Buffer.concat([Buffer.alloc(shift, "x"), Buffer.from(secret)]);
    const first = shift === 0 ? 0 : 4;
    const whole = bytes.byteLength - (bytes.byteLength % 3);
    const text = bytes.subarray(0, whole).toString("base64").slice(first);
    return [text, text.replaceAll("+", "-").replaceAll("/", "_")];
  });
}
