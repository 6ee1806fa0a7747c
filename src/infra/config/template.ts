import type { Json } from "../../lib/json.ts";
import { own } from "../../lib/own.ts";
import { type ComponentName, componentOf, isReloadable } from "./components.ts";
import { ENDPOINTS } from "./endpoint-settings.ts";
import { type FieldDoc, fieldsOf } from "./field-docs.ts";

const WIDTH = 100;

/**
 * A file of the component as people begin with it: every field with what it is, what it takes and its default. Fields without a
 * default stand commented out. With values, those are shown instead of the defaults. The text is valid as it is.
 */
export function templateOf(name: ComponentName, values: Json = {}): string {
  const { about, services, schema } = componentOf(name);
  const head = [...comment(`${name}: ${about} For ${services.join(", ")}.`, "")];
  if (name === "endpoints") return [...head, ...endpointsTemplate(), ""].join("\n");
  const note = comment(
    "A field that is left out has the value shown here. Lines that are commented out have no default.",
    "",
  );
  const body = members(name, { fields: fieldsOf(schema), values, indent: "  " });
  return [...head, ...note, "{", ...body, "}", ""].join("\n");
}

interface Members {
  readonly fields: readonly FieldDoc[];
  readonly values: Json | undefined;
  readonly indent: string;
}

function members(name: ComponentName, { fields, values, indent }: Members): readonly string[] {
  const blocks = fields.map((field) => block(name, field, { value: valueIn(values, field.name), indent }));
  const last = blocks.findLastIndex(({ live }) => live);
  return blocks.flatMap(({ lines, live }, i) =>
    live && i < last ? [...lines.slice(0, -1), `${lines.at(-1) ?? ""},`] : lines,
  );
}

function block(
  name: ComponentName,
  field: FieldDoc,
  { value, indent }: { readonly value: Json | undefined; readonly indent: string },
): { readonly lines: readonly string[]; readonly live: boolean } {
  const changes = isReloadable(name, field.path) ? " Takes force at once." : "";
  const what = field.inner.length > 0 ? field.about : `${field.about} Takes ${field.takes}.${changes}`;
  const notes = comment(what, indent);
  if (field.inner.length > 0) {
    const inner = members(name, { fields: field.inner, values: value, indent: `${indent}  ` });
    return { lines: [...notes, `${indent}${JSON.stringify(field.name)}: {`, ...inner, `${indent}}`], live: true };
  }
  const shown = value ?? field.default ?? (field.required ? [] : undefined);
  if (shown === undefined) return { lines: [...notes, `${indent}// ${JSON.stringify(field.name)}: …`], live: false };
  return { lines: [...notes, `${indent}${JSON.stringify(field.name)}: ${JSON.stringify(shown)}`], live: true };
}

/** What each protocol may say stands in comments: which endpoints there are, nobody can guess. */
function endpointsTemplate(): readonly string[] {
  const protocols = Object.entries(ENDPOINTS).flatMap(([protocol, schema]) => [
    ...comment(`An endpoint of protocol ${protocol} may say:`, "  "),
    ...leavesOf(fieldsOf(schema)).flatMap((field) => {
      const name = `${field.path}${field.required ? " (obligatory)" : ""}`;
      return comment(`${name}: ${field.about === "" ? "" : `${field.about} `}Takes ${field.takes}.`, "  ", "  ");
    }),
  ]);
  return ["[", ...protocols, "]"];
}

const leavesOf = (fields: readonly FieldDoc[]): readonly FieldDoc[] =>
  fields.flatMap((field) => (field.inner.length > 0 ? leavesOf(field.inner) : [field]));

function comment(text: string, indent: string, more = ""): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(" ").filter((one) => one !== "")) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + word.length + indent.length + 4 <= WIDTH)
      lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines.map((line, i) => `${indent}// ${i === 0 ? "" : more}${line}`);
}

const valueIn = (values: Json | undefined, key: string): Json | undefined =>
  typeof values === "object" && values !== null && !Array.isArray(values)
    ? own(values as Readonly<Record<string, Json>>, key)
    : undefined;
