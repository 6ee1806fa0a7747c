import { until as poll } from "../../deployment/local/poll.ts";
import { localClock } from "../../deployment/local/clock.ts";
import { seconds } from "../../src/lib/time.ts";

/** A watch as one writes it at first: it begins at now, and after a cut at now again. */
export interface NaiveWatch extends AsyncDisposable {
  readonly begun: Promise<void>;
  readonly told: readonly string[];
  until(what: string): Promise<unknown>;
  /** Once its stream has ended: the next one. */
  again(): Promise<void>;
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const text = (bytes: string): string => Buffer.from(bytes, "base64").toString();

interface Line {
  readonly result?: {
    readonly events?: readonly {
      readonly type?: string;
      readonly kv: { readonly key: string; readonly value?: string };
    }[];
  };
}

export function openNaiveWatch(address: string, folder: string): NaiveWatch {
  const told: string[] = [];
  const stop = new AbortController();
  let begun = Promise.withResolvers<void>();
  let over: Promise<void>;
  const read = async (): Promise<void> => {
    const response = await fetch(`http://${address}/v3/watch`, {
      method: "POST",
      body: JSON.stringify({ create_request: { key: base64(folder), range_end: base64(`${folder.slice(0, -1)}0`) } }),
      signal: stop.signal,
    });
    begun.resolve();
    let rest = "";
    for await (const chunk of response.body ?? []) {
      rest += Buffer.from(chunk as Uint8Array).toString();
      const lines = rest.split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines.filter((one) => one !== "")) {
        for (const { type, kv } of (JSON.parse(line) as Line).result?.events ?? [])
          told.push(`${text(kv.key).split("/").at(-1) ?? ""}=${type === "DELETE" ? "-" : text(kv.value ?? "")}`);
      }
    }
  };
  const begin = (): void => {
    over = read().catch(() => undefined);
  };
  begin();
  return {
    begun: begun.promise,
    told,
    until: (what) =>
      poll(async () => told.includes(what), { clock: localClock, timeout: seconds(10), every: seconds(0.02), what }),
    async again() {
      await over;
      begun = Promise.withResolvers();
      begin();
      await begun.promise;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await over;
    },
  };
}
