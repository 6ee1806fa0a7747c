import type { Machine } from "./machine.ts";
import type { ServerSpec } from "./server.ts";

/** PEM files of what a server shows of itself. */
export interface Identity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Where an extra server may put itself. */
export interface Place {
  readonly stateDir: string;
  /** Variables that every server gets. */
  readonly env: Readonly<Record<string, string>>;
  /** A port that stays the environment's. */
  readonly port: () => Promise<number>;
  /** Redis, MariaDB and Kafka also listen with TLS; MariaDB takes nobody without. */
  readonly identity?: Identity;
}

export interface Prepared {
  /** Null where a running one is used. */
  readonly spec: ServerSpec | null;
  /** What `DIR/env` says of it. */
  readonly env: Readonly<Record<string, string>>;
}

/** A server beside the control plane, which an environment has on demand. */
export interface ExtraServer {
  /** Builds or fetches what {@link prepare} needs; quick where it is there. */
  fetch(machine: Machine): Promise<unknown>;
  /** The running one that a variable names, once it has answered; else how to start one, with its settings and credentials written. */
  prepare(place: Place, machine: Machine): Promise<Prepared>;
}
