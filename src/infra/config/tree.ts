import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import type { ConfigKey } from "./config-key.ts";
import { fileOfKey, keyOfFile } from "./config-key.ts";
import { DOCUMENT_LIMITS, type JsonDocument, type Place, readJson } from "./json-text.ts";
import { formatProblem, type Problem } from "./problems.ts";
import { isEnvironment, isLayer } from "./services.ts";

/** One file of the tree `{root}/{env}/{service}/{component}.json`. */
export interface TreeFile {
  /** As people may open it. */
  readonly file: string;
  readonly key: ConfigKey;
  readonly document: JsonDocument;
}

export interface FileProblem extends Problem {
  readonly file: string;
  /** Null where the problem is the file itself. */
  readonly place: Place | null;
}

export interface Tree {
  /** The folder in which environments stand. */
  readonly root: string;
  readonly files: readonly TreeFile[];
  readonly problems: readonly FileProblem[];
}

const MOST_FILES = 2000;
const DEEPEST = 8;
/** Folders of the root that hold something else. */
const APART: ReadonlySet<string> = new Set(["samples"]);

/** `config/dev/im-repo/cache.json:4:15: cache.db: 99 is not a whole number from 0 to 15` */
export const formatFileProblem = ({ file, place, ...problem }: FileProblem): string => {
  const at = place === null ? "" : `:${place.line}:${place.column}`;
  return `${file}${at}: ${problem.path === "" ? formatProblem(problem).replace(/^settings: /, "") : formatProblem(problem)}`;
};

/**
 * Everything below a path: the root of the tree, an environment, a service or one file. Files are read in order of their names; what
 * does not belong there is a problem of its own. Names that begin with a dot are left alone.
 */
export async function readTree(path: string): Promise<Tree> {
  const root = rootAbove(resolve(path));
  const found = await filesBelow(path, 0).catch(() => null);
  if (found === null)
    return { root, files: [], problems: [aboutFile(path, "cannot be read", "a file or folder of the tree")] };
  const files: TreeFile[] = [];
  const problems: FileProblem[] = [];
  if (found.length === 0) problems.push(aboutFile(path, "holds no file", "{env}/{service}/{component}.json below it"));
  if (found.length > MOST_FILES)
    problems.push(aboutFile(path, `holds more than ${MOST_FILES} files`, "one tree of configuration"));
  for (const file of found.slice(0, MOST_FILES)) {
    const below = relative(root, resolve(file)).split(sep);
    if (APART.has(below[0] ?? "")) continue;
    const read = await readTreeFile(file, below.join("/"));
    if ("document" in read) files.push(read);
    else problems.push(read);
  }
  return { root, files, problems };
}

/** The file of one key; null where there is none. */
export async function readKeyFile(root: string, key: ConfigKey): Promise<TreeFile | FileProblem | null> {
  const below = fileOfKey(key);
  const file = join(root, below);
  const exists = await stat(file).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== "ENOENT" && error.code !== "ENOTDIR",
  );
  return exists ? await readTreeFile(file, below) : null;
}

async function readTreeFile(file: string, below: string): Promise<TreeFile | FileProblem> {
  const parsed = keyOfFile(below);
  if (parsed.kind !== "config")
    return aboutFile(
      file,
      `does not belong here: ${parsed.kind === "none" ? parsed.reason : "a tenant is no file"}`,
      "",
    );
  const bytes = await readBounded(file);
  if (typeof bytes === "string") return aboutFile(file, bytes, `a file of at most ${DOCUMENT_LIMITS.bytes} bytes`);
  const read = readJson(bytes);
  if (read.ok) return { file, key: parsed.key, document: read.document };
  return { file, place: read.place, path: "", value: "", message: read.reason, allowed: "JSON, comments included" };
}

async function readBounded(file: string): Promise<Uint8Array | string> {
  try {
    const found = await stat(file);
    if (!found.isFile()) return "is no plain file";
    if (found.size > DOCUMENT_LIMITS.bytes) return `has ${found.size} bytes`;
    return await readFile(file);
  } catch {
    return "cannot be read";
  }
}

/** Paths of all files, sorted; a link is followed to a file (mounted ConfigMaps are links), never to a folder. */
async function filesBelow(path: string, depth: number): Promise<readonly string[]> {
  const found = await stat(path);
  if (!found.isDirectory()) return [path];
  if (depth > DEEPEST) return [];
  const names = await readdir(path, { withFileTypes: true });
  const inner: string[] = [];
  for (const entry of names.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith(".") || inner.length > MOST_FILES) continue;
    const at = join(path, entry.name);
    if (entry.isDirectory()) inner.push(...(await filesBelow(at, depth + 1)));
    else inner.push(at);
  }
  return inner;
}

/** Told by names: a folder called like an environment stands in the root, a service's in an environment. */
function rootAbove(path: string): string {
  const [parent, above] = [dirname(path), dirname(dirname(path))];
  if (path.endsWith(".json") && isLayer(basename(parent)) && isEnvironment(basename(above))) return dirname(above);
  if (isLayer(basename(path)) && isEnvironment(basename(parent))) return above;
  return isEnvironment(basename(path)) ? parent : path;
}

const aboutFile = (file: string, message: string, allowed: string): FileProblem => ({
  file,
  place: null,
  path: "",
  value: "",
  message,
  allowed,
});
