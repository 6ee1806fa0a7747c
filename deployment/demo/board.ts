import { WriteStream } from "node:tty";
import type { TaskRow } from "./tasks.ts";

/** Shows the tasks as they move: a table that redraws itself on a terminal, one line per change where it is piped. */
export interface Board {
  /** Something that happened beside the tasks. */
  say(line: string): void;
  show(rows: readonly TaskRow[]): void;
}

const HEAD = ["TENANT", "PHASE", "PROGRESS", "STAGE", "WAITING"] as const;
const WIDTH = [12, 14, 9, 24, 22] as const;

const MARK: Readonly<Record<string, string>> = {
  Completed: "✔",
  RolledBack: "↩",
  Failed: "✘",
  Paused: "‖",
  RollingBack: "↩",
};

function cells(row: TaskRow): readonly string[] {
  const stage = row.stages.findLast(({ state }) => state !== "Completed" && state !== "RolledBack");
  const shown = stage === undefined ? "" : `${stage.name} ${stage.state}`;
  return [`${MARK[row.phase] ?? " "} ${row.tenant}`, row.phase, row.progress, shown, row.waiting];
}

const line = (parts: readonly string[]): string =>
  parts
    .map((part, i) => part.padEnd(WIDTH[i] ?? 0))
    .join(" ")
    .trimEnd();

/** At most this many lines of talk stay above the table. */
const TALK = 8;

export function openBoard(out: NodeJS.WriteStream): Board {
  return out instanceof WriteStream && out.isTTY ? liveBoard(out) : plainBoard(out);
}

function plainBoard(out: NodeJS.WriteStream): Board {
  const last = new Map<string, string>();
  return {
    say: (text) => void out.write(`${text}\n`),
    show(rows) {
      for (const row of rows) {
        const now = line(cells(row));
        if (last.get(row.name) !== now) out.write(`  ${now}\n`);
        last.set(row.name, now);
      }
    },
  };
}

function liveBoard(out: WriteStream): Board {
  const talk: string[] = [];
  let rows: readonly TaskRow[] = [];
  let drawn = 0;
  const draw = (): void => {
    const lines = [...talk.slice(-TALK), "", line(HEAD), ...rows.map((row) => line(cells(row)))];
    const fitting = lines.map((text) => text.slice(0, Math.max(20, out.columns - 1)));
    if (drawn > 0) out.moveCursor(0, -drawn);
    out.cursorTo(0);
    out.clearScreenDown();
    out.write(`${fitting.join("\n")}\n`);
    drawn = fitting.length;
  };
  return {
    say(text) {
      talk.push(text);
      draw();
    },
    show(now) {
      rows = now;
      draw();
    },
  };
}
