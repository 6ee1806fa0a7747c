import { decodeJson, type Json } from "../../lib/json.ts";
import type { Codec } from "./mq.ts";

const LIMITS = { depth: 64, keys: 100_000 };

/** UTF-8 JSON. `parse` says what it means, and throws where it means nothing. */
export function jsonCodec<T>(parse: (value: Json) => T): Codec<T> {
  return {
    name: "json",
    encode: (value) => Buffer.from(JSON.stringify(value), "utf8"),
    decode: (bytes) => {
      const decoded = decodeJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes), LIMITS);
      if (!decoded.ok) throw new Error("is not JSON within the limits");
      return parse(decoded.value);
    },
  };
}

/** A message type as protobufjs, ts-proto and protoc make them. */
export interface ProtobufType<T> {
  encode(value: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

export function protobufCodec<T>(type: ProtobufType<T>): Codec<T> {
  return {
    name: "protobuf",
    encode: (value) => type.encode(value).finish(),
    decode: (bytes) => type.decode(bytes),
  };
}
