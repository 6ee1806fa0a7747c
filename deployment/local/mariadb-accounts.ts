import { createConnection } from "mysql2/promise";

import type { Rng } from "../../src/lib/seams.ts";

/** A database for each environment, with one user who sees nothing but it. */
const ENVIRONMENTS = ["dev", "test", "prod"] as const;

export interface Accounts {
  readonly address: string;
  /** One line each. Run again, they give new passwords and leave the data alone. */
  readonly statements: readonly string[];
  /** MYSQL_URL (may do everything), MYSQL_DEV_URL, MYSQL_TEST_URL, MYSQL_PROD_URL. */
  readonly env: Readonly<Record<string, string>>;
}

/** New passwords for all, root included. */
export function createAccounts(address: string, rng: Rng): Accounts {
  const root = rng.id() + rng.id();
  const own = environments(address, rng);
  const gone = ["''@'localhost'", "'root'@'localhost'", "'root'@'127.0.0.1'", "'root'@'::1'", "'root'@'%'"];
  return {
    address,
    statements: [
      `DROP USER IF EXISTS ${gone.join(", ")}`,
      `CREATE USER 'root'@'%' IDENTIFIED BY '${root}'`,
      "GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION",
      ...own.statements,
    ],
    env: { MYSQL_URL: `mysql://root:${root}@${address}/`, ...own.env },
  };
}

/** The same on a server that runs elsewhere; its root keeps its password. */
export function accountsOf(url: string, rng: Rng): Accounts {
  const { host } = new URL(url);
  const own = environments(host, rng);
  return { address: host, statements: own.statements, env: { MYSQL_URL: url, ...own.env } };
}

function environments(address: string, rng: Rng): Pick<Accounts, "statements" | "env"> {
  const all = ENVIRONMENTS.map((name) => ({ name, user: `im_${name}`, password: rng.id() + rng.id() }));
  return {
    statements: all.flatMap(({ user, password }) => [
      `CREATE DATABASE IF NOT EXISTS ${user} CHARACTER SET utf8mb4`,
      `DROP USER IF EXISTS '${user}'@'%'`,
      `CREATE USER '${user}'@'%' IDENTIFIED BY '${password}'`,
      `GRANT ALL PRIVILEGES ON ${user}.* TO '${user}'@'%'`,
    ]),
    env: Object.fromEntries(
      all.map(({ name, user, password }) => [
        `MYSQL_${name.toUpperCase()}_URL`,
        `mysql://${user}:${password}@${address}/${user}`,
      ]),
    ),
  };
}

/** @throws where the server cannot be reached or its root may not do this */
export async function applyAccounts({ env, statements }: Accounts): Promise<void> {
  const connection = await createConnection({ uri: env.MYSQL_URL ?? "", connectTimeout: 5000 });
  try {
    for (const statement of statements) await connection.query(statement);
  } finally {
    connection.destroy();
  }
}
