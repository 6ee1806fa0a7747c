import type { Connection, ConnectionPool } from "@platformatic/kafka";

/**
 * Every connection that a client made and that stands. The vendor's pool (2.12) drops whatever it knows under a broker's address when
 * an earlier connection to it ends, the one that took its place included; and a consumer that cannot leave its group closes none. Either
 * would keep the process, and a place at the broker.
 */
export class MadeConnections {
  readonly #standing = new Set<Connection>();

  /** From now on, and what the pool has already. */
  follow(pool: ConnectionPool): void {
    for (const [, connection] of pool) this.#note(connection);
    pool.on("connecting", ({ connection }) => this.#note(connection));
  }

  /** Ends what is left. For who has said goodbye, or could not. */
  end(): void {
    for (const connection of this.#standing) ended(connection);
    this.#standing.clear();
  }

  #note(connection: Connection): void {
    if (this.#standing.has(connection)) return;
    this.#standing.add(connection);
    connection.once("close", () => void this.#standing.delete(connection));
    connection.once("error", () => {
      this.#standing.delete(connection);
      ended(connection);
    });
  }
}

/** One that never began to connect has no socket, whatever the vendor's types say. */
function ended({ socket }: Connection): void {
  (socket as Connection["socket"] | undefined)?.destroy();
}
