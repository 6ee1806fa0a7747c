import { inflateRawSync } from "node:zlib";

export interface ZipFile {
  readonly name: string;
  readonly executable: boolean;
  read(): Buffer;
}

/** The files of a zip archive (APPNOTE 6.3, sections 4.3.7, 4.3.12, 4.3.16; stored or deflated, no zip64). */
export function readZip(archive: Buffer): readonly ZipFile[] {
  const end = archive.lastIndexOf(END_OF_DIRECTORY);
  if (end < 0) throw new Error("not a zip archive");
  const files: ZipFile[] = [];
  let at = archive.readUInt32LE(end + 16);
  for (let left = archive.readUInt16LE(end + 10); left > 0; left -= 1) {
    if (archive.readUInt32LE(at) !== DIRECTORY_ENTRY) throw new Error("the directory of the zip archive is damaged");
    const nameLength = archive.readUInt16LE(at + 28);
    const name = archive.toString("utf8", at + 46, at + 46 + nameLength);
    if (!name.endsWith("/")) files.push(entryAt(archive, at, name));
    at += 46 + nameLength + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
  }
  return files;
}

const END_OF_DIRECTORY = Buffer.from("PK\x05\x06", "latin1");
const DIRECTORY_ENTRY = 0x02014b50;
const DEFLATED = 8;

function entryAt(archive: Buffer, at: number, name: string): ZipFile {
  const method = archive.readUInt16LE(at + 10);
  const [packed, size] = [archive.readUInt32LE(at + 20), archive.readUInt32LE(at + 24)];
  const local = archive.readUInt32LE(at + 42);
  return {
    name,
    executable: ((archive.readUInt32LE(at + 38) >>> 16) & 0o111) !== 0,
    read() {
      const start = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const bytes = archive.subarray(start, start + packed);
      return method === DEFLATED ? inflateRawSync(bytes, { maxOutputLength: size }) : bytes;
    },
  };
}
