import type { Centre } from "../../infra/coord/coord.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import type { Access } from "./access.ts";

export interface OpenedCentre {
  readonly centre: Centre;
  close(): Promise<void>;
}

/** Everything that a command touches besides files. */
export interface CliSeams {
  /** Data: what may be piped on. */
  readonly out: (text: string) => void;
  /** Talk: progress, questions, refusals. */
  readonly talk: (text: string) => void;
  /** Whether somebody sits at the other end, who can be asked and shown progress. */
  readonly terminal: boolean;
  /** Null where the answer was ended instead of given (Ctrl-D). @throws CliFailure for Ctrl-C. */
  readonly ask: (question: string) => Promise<string | null>;
  /** At most one byte more than a document may have. */
  readonly readStdin: () => Promise<Uint8Array>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly rng: Rng;
  /** Ends what would go on for ever. */
  readonly signal: AbortSignal;
  readonly openCentre: (access: Access) => Promise<OpenedCentre>;
}
