import type { Checker } from "./recording.ts";

/** S17: no secret is shown anywhere, raw, in base64, base64url, hex or percent-encoded. */
export const canary: Checker = ({ outputs, secrets }) =>
  outputs.flatMap(({ where, text }) =>
    secrets
      .filter((secret) => secret !== "" && faces(secret).some((face) => text.includes(face)))
      .map((secret) => ({ id: "S17", says: `${where} shows secret ${secrets.indexOf(secret) + 1}`, order: 0 })),
  );

function faces(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  // In base64 the last characters depend on what follows the secret.
  const base64 = [0, 1, 2].map((shift) => {
    const padded = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString("base64")
      .replace(/=+$/, "");
    return padded.slice(shift === 0 ? 0 : shift + 1, -1);
  });
  const urlSafe = base64.map((text) => text.replaceAll("+", "-").replaceAll("/", "_"));
  return [secret, ...base64, ...urlSafe, bytes.toString("hex"), encodeURIComponent(secret)];
}
