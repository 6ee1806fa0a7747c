import { stat } from "node:fs/promises";
import type { Sourced } from "../../infra/config/check-tree.ts";
import type { FileProblem } from "../../infra/config/tree.ts";
import type { Json } from "../../lib/json.ts";
import { formatPath } from "./paths.ts";

/** References whose file or variable does not exist on this machine. Nothing of a secret is read. */
export async function checkSecrets(
  all: readonly Sourced[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<readonly FileProblem[]> {
  const found = all.flatMap((one) => references(one.value, "").map((reference) => ({ one, ...reference })));
  const problems = await Promise.all(
    found.map(async ({ one, path, kind, name }) => {
      const there =
        kind === "env"
          ? env[name] !== undefined
          : await stat(name).then(
              (at) => at.isFile(),
              () => false,
            );
      if (there) return [];
      const allowed = kind === "env" ? "a variable that is set where this runs" : "a file that exists where this runs";
      const about = { path: `${one.key.component}.${path}`, value: name, message: "is not there", allowed };
      return [{ file: one.source, place: one.placeOf(path), ...about }];
    }),
  );
  return problems.flat();
}

interface Reference {
  readonly path: string;
  readonly kind: "env" | "file";
  readonly name: string;
}

function references(value: Json, path: string): readonly Reference[] {
  if (typeof value !== "object" || value === null) return [];
  if (Array.isArray(value)) return value.flatMap((item: Json, i) => references(item, `${path}[${i}]`));
  const entries = Object.entries(value);
  const [first] = entries;
  if (entries.length === 1 && first !== undefined && typeof first[1] === "string") {
    const [kind, name] = first;
    if ((kind === "env" && name.startsWith("TURNOUT_SECRET_")) || (kind === "file" && name.startsWith("/"))) {
      return [{ path: formatPath(path, kind), kind, name }];
    }
  }
  return entries.flatMap(([key, item]) => references(item, formatPath(path, key)));
}
