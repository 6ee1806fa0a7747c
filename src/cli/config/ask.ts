import { createInterface } from "node:readline";
import { CliFailure, STOPPED } from "./failure.ts";

interface Terminal {
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream;
}

/** One line from a person; null for Ctrl-D. @throws CliFailure for Ctrl-C, which the terminal hands over as a key, not as a signal. */
export function askAt({ input, output }: Terminal, question: string): Promise<string | null> {
  const lines = createInterface({ input, output, terminal: true });
  return new Promise((resolve, reject) => {
    lines.once("SIGINT", () => {
      reject(new CliFailure(STOPPED, "\nstopped; nothing was written"));
      lines.close();
    });
    lines.once("close", () => resolve(null));
    lines.question(question, (answer) => {
      resolve(answer);
      lines.close();
    });
  });
}

/** What comes, at most one byte more than the limit: enough to refuse it. */
export async function readBounded(input: AsyncIterable<Uint8Array | string>, most: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of input) {
    const part = Buffer.from(chunk as Uint8Array);
    chunks.push(part);
    bytes += part.byteLength;
    if (bytes > most) break;
  }
  return Buffer.concat(chunks).subarray(0, most + 1);
}
