import { z } from "zod";
import { absolutePath, byteSize, type DeepReadonly, duration, whole } from "./setting-fields.ts";

const name = (what: string): z.ZodOptional<z.ZodString> => z.string().min(1).max(128).optional().describe(what);

/** How a process logs. */
export const clogSettings = z
  .strictObject({
    level: z.enum(["debug", "info", "warn", "error"]).default("info").describe("Least severe line that is written."),
    format: z
      .enum(["json", "pretty"])
      .default("json")
      .describe("json: one object per line, for collectors; pretty: for people at a terminal."),
    output: z.enum(["stdout", "stderr", "file"]).default("stdout").describe("Where lines go; file needs filename."),
    filename: absolutePath.optional().describe("File that lines are appended to where output is file."),
    maxSize: byteSize("1MiB", "4GiB").prefault("100MiB").describe("Size at which the file is rotated."),
    maxBackups: whole(0, 100).default(3).describe("Rotated files that are kept."),
    maxAge: duration("1h", "366d").prefault("7d").describe("Age at which a rotated file is deleted."),
    compress: z.boolean().default(false).describe("Whether rotated files are compressed."),
    enableCaller: z.boolean().default(false).describe("Whether each line names the source that wrote it."),
    enableStacktrace: z.boolean().default(true).describe("Whether lines about errors carry the frames."),
    errorOutput: z
      .enum(["stdout", "stderr"])
      .default("stderr")
      .describe("Where the log itself complains, such as about a full disk."),
    initialFields: z
      .strictObject({
        service: name("Left out, the service's own name."),
        environment: name("Left out, the environment that the process was started for."),
        version: name("Left out, the version of the build."),
      })
      .prefault({})
      .describe("Fields on every line."),
  })
  .refine(({ output, filename }) => output !== "file" || filename !== undefined, {
    error: "is missing although output is file",
    path: ["filename"],
    params: { allowed: "a path that begins with /" },
  });

export type ClogSettings = DeepReadonly<z.output<typeof clogSettings>>;
