import { crc32, deflateRawSync } from "node:zlib";

import { describe, expect, test } from "vitest";

import { cacheKey, type Pins, withContainer } from "../../deployment/local/control-plane.ts";
import { clusterId } from "../../deployment/local/kafka.ts";
import { newPackages } from "../../deployment/local/debian-package.ts";
import { isInstalled } from "../../deployment/local/prepare.mjs";
import { isAtLeast } from "../../deployment/local/version.ts";
import { readZip } from "../../deployment/local/zip.ts";

describe("a version", () => {
  const ROWS = [
    ["1.26.8", true],
    ["1.26", true],
    ["1.27.0", true],
    ["2.0", true],
    ["1.25.9", false],
    ["1.9", false],
  ] as const;
  test("no row is lost", () => expect(ROWS).toHaveLength(6));
  test.each(ROWS)("%s is at least 1.26: %s", (version, isEnough) => expect(isAtLeast(version, "1.26")).toBe(isEnough));
});

describe("the cache key of a server", () => {
  const pins: Pins = { goMod: "module a", goSum: "h1:a", kubernetes: "v1.36.2", etcd: "v3.6.14", go: "1.26" };
  const key = cacheKey("etcd", pins);
  test("is the same for the same sources", () => expect(cacheKey("etcd", { ...pins })).toBe(key));
  test.each([{ goMod: "module b" }, { goSum: "h1:b" }, { kubernetes: "v1.36.3" }])("changes with %j", (change) => {
    expect(cacheKey("etcd", { ...pins, ...change })).not.toBe(key);
  });
  test("differs between servers", () => expect(cacheKey("kube-apiserver", pins)).not.toBe(key));
});

describe("building in a container", () => {
  const command = withContainer("/usr/bin/docker", { image: "golang:1.26", modules: "/cache" })(
    ["build", "-trimpath", "-o"],
    {
      into: "/cache/etcd-1.making-7",
      name: "etcd",
      package: "go.etcd.io/etcd/server/v3",
    },
  );
  test("the container is gone after the build and writes as this user", () => {
    expect(command.args.slice(0, 4)).toEqual(["run", "--rm", "--user", `${process.getuid?.()}:${process.getgid?.()}`]);
  });
  test("the sources are read-only, the result lands where it is waited for", () => {
    expect(command.args.filter((arg) => /:\/(?:source|out|modules)/.test(arg))).toEqual([
      expect.stringMatching(/\/deployment\/local\/control-plane:\/source:ro$/),
      "/cache/etcd-1.making-7:/out",
      "/cache:/modules",
    ]);
    expect(command.args.slice(-7)).toEqual([
      "golang:1.26",
      "go",
      "build",
      "-trimpath",
      "-o",
      "/out/etcd",
      "go.etcd.io/etcd/server/v3",
    ]);
  });
});

describe("packages that have to be fetched", () => {
  const simulated = [
    "NOTE: This is only a simulation!",
    "Inst libjemalloc2 (5.3.0-1 Debian:12.15/oldstable [amd64])",
    "Inst libc6 [2.36-9] (2.36-10 Debian:12.15/oldstable [amd64])",
    "Inst redis-server (5:7.0.15-1~deb12u10 Debian-Security:12/oldstable-security [amd64])",
    "Conf redis-server (5:7.0.15-1~deb12u10 Debian-Security:12/oldstable-security [amd64])",
  ].join("\n");
  test("are those that are not installed; the system's own C library is never replaced", () => {
    expect(newPackages(simulated)).toEqual(["libjemalloc2", "redis-server"]);
  });
});

describe("the id of a Kafka cluster", () => {
  test("is never taken for an option of the tool that writes it", () => {
    expect(clusterId(Buffer.alloc(16, 0xfb))).toBe("A_v7-_v7-_v7-_v7-_v7-w");
    expect(clusterId(Buffer.alloc(16, 0))).toBe("AAAAAAAAAAAAAAAAAAAAAA");
  });
});

describe("the dependencies", () => {
  const lock = {
    packages: {
      "": {},
      "node_modules/a": { version: "1.0.0", integrity: "sha512-a" },
      "node_modules/b": { version: "2.0.0", integrity: "sha512-b", optional: true },
    },
  };
  const a = lock.packages["node_modules/a"];
  const ROWS = [
    ["as the lock file names them: installed", { packages: { "node_modules/a": a } }, true],
    ["another version: not", { packages: { "node_modules/a": { ...a, version: "1.0.1" } } }, false],
    ["other content: not", { packages: { "node_modules/a": { ...a, integrity: "sha512-x" } } }, false],
    ["one too many: not", { packages: { "node_modules/a": a, "node_modules/c": a } }, false],
    ["one missing: not", { packages: { "node_modules/b": lock.packages["node_modules/b"] } }, false],
    ["npm left no record: not", {}, false],
  ] as const;
  test("no row is lost", () => expect(ROWS).toHaveLength(6));
  test.each(ROWS)("%s", (_rule, record, isThere) => expect(isInstalled(lock, record)).toBe(isThere));
});

describe("a zip archive", () => {
  const text = Buffer.from("#!/bin/sh\n".repeat(50));
  const archive = zipOf([
    { name: "tool/", bytes: Buffer.alloc(0), mode: 0o40755, deflate: false },
    { name: "tool/tool", bytes: text, mode: 0o100755, deflate: true },
    { name: "tool/readme", bytes: Buffer.from("read me"), mode: 0o100644, deflate: false },
  ]);
  test("gives its files with content and mode, folders left out", () => {
    expect(readZip(archive).map((file) => [file.name, file.executable, file.read().toString()])).toEqual([
      ["tool/tool", true, text.toString()],
      ["tool/readme", false, "read me"],
    ]);
  });
  test("that is none is refused", () => expect(() => readZip(Buffer.from("<html>"))).toThrow(/not a zip archive/));
  test("with a damaged directory is refused", () => {
    const damaged = Buffer.from(archive);
    damaged.writeUInt32LE(0, damaged.lastIndexOf(Buffer.from("PK\x01\x02", "latin1")));
    expect(() => readZip(damaged)).toThrow(/damaged/);
  });
});

interface Member {
  readonly name: string;
  readonly bytes: Buffer;
  readonly mode: number;
  readonly deflate: boolean;
}

/** APPNOTE 6.3: local headers with data, central directory, end record. */
function zipOf(members: readonly Member[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, bytes, mode, deflate } of members) {
    const packed = deflate ? deflateRawSync(bytes) : bytes;
    const shared = Buffer.alloc(22);
    shared.writeUInt16LE(deflate ? 8 : 0, 4);
    shared.writeUInt32LE(crc32(bytes), 10);
    shared.writeUInt32LE(packed.length, 14);
    shared.writeUInt32LE(bytes.length, 18);
    const nameLength = Buffer.alloc(4);
    nameLength.writeUInt16LE(name.length, 0);
    const local = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), shared, nameLength, Buffer.from(name), packed]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE((mode << 16) >>> 0, 6);
    rest.writeUInt32LE(offset, 10);
    const madeBy = Buffer.from([20, 3]);
    directory.push(Buffer.from("PK\x01\x02", "latin1"), madeBy, shared, nameLength, rest, Buffer.from(name));
    parts.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, central, end]);
}
