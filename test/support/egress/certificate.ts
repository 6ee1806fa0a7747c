import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

/** A key with its certificate, as PEM. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}
export interface Authority extends Identity {
  issue(about: {
    readonly names?: readonly string[];
    readonly ips?: readonly string[];
    readonly until?: Date;
  }): Identity;
}

const OIDS = {
  ecPublicKey: "06072a8648ce3d0201",
  ecdsaWithSha256: "06082a8648ce3d040302",
  commonName: "0603550403",
  basicConstraints: "0603551d13",
  subjectAltName: "0603551d11",
} as const;

/** An authority of its own (X.509 v3, P-256): each test trusts nobody else's. */
export function openAuthority(name = "test authority"): Authority {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const make = (subject: string, publicKey: KeyObject, extensions: readonly Buffer[], until: Date): string =>
    certificate({ issuer: name, subject, publicKey, signer: pair.privateKey, extensions, until });
  const later = new Date(Date.now() + 86_400_000);
  return {
    cert: make(
      name,
      pair.publicKey,
      [extension(OIDS.basicConstraints, sequence(der(0x01, Buffer.of(0xff))), true)],
      later,
    ),
    key: pem(pair.privateKey),
    issue: ({ names = [], ips = [], until = later }) => {
      const own = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const alt = sequence(
        ...names.map((text) => der(0x82, Buffer.from(text))),
        ...ips.map((text) => der(0x87, Buffer.from(text.split(".").map(Number)))),
      );
      return {
        cert: make("leaf", own.publicKey, [extension(OIDS.subjectAltName, alt, false)], until),
        key: pem(own.privateKey),
      };
    },
  };
}

interface Certificate {
  readonly issuer: string;
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly extensions: readonly Buffer[];
  readonly until: Date;
}

function certificate({ issuer, subject, publicKey, signer, extensions, until }: Certificate): string {
  const algorithm = sequence(Buffer.from(OIDS.ecdsaWithSha256, "hex"));
  const from = new Date(Math.min(Date.now(), until.getTime()) - 86_400_000);
  const body = sequence(
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    algorithm,
    nameOf(issuer),
    sequence(time(from), time(until)),
    nameOf(subject),
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(...extensions)),
  );
  const signature = sign("sha256", body, signer);
  const whole = sequence(body, algorithm, der(0x03, Buffer.concat([Buffer.of(0), signature])));
  const lines = whole.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

const extension = (oid: string, value: Buffer, critical: boolean): Buffer =>
  sequence(Buffer.from(oid, "hex"), ...(critical ? [der(0x01, Buffer.of(0xff))] : []), der(0x04, value));

const nameOf = (text: string): Buffer =>
  sequence(der(0x31, sequence(Buffer.from(OIDS.commonName, "hex"), der(0x0c, Buffer.from(text)))));

/** UTCTime: `YYMMDDhhmmssZ`. */
const time = (at: Date): Buffer =>
  der(
    0x17,
    Buffer.from(
      at
        .toISOString()
        .replaceAll(/[-:T]|\.\d+/g, "")
        .slice(2),
    ),
  );

const sequence = (...parts: readonly Buffer[]): Buffer => der(0x30, Buffer.concat(parts));

function der(tag: number, value: Buffer): Buffer {
  const { length } = value;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), value]);
}

const pem = (key: KeyObject): string => key.export({ type: "pkcs8", format: "pem" }).toString();
