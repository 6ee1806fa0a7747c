import { chmod, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";

import { minutes, seconds } from "../../src/lib/time.ts";
import { onPath, run } from "./command.ts";
import { librariesOf, unpackedDebian, type Unpacked } from "./debian-package.ts";
import type { ExtraServer, Identity, Place, Prepared } from "./extra.ts";
import { accountsOf, applyAccounts, createAccounts, type Accounts } from "./mariadb-accounts.ts";
import type { Machine } from "./machine.ts";
import { makePrivateFolder, writePrivate } from "./private-file.ts";
import { answersMysql } from "./probe.ts";
import { PROBLEM } from "./problem.ts";
import { isAtLeast } from "./version.ts";

/** Names a running MariaDB or MySQL to use instead, as one who may create databases and users: `mysql://root:PASSWORD@HOST:PORT`. */
const VARIABLE = "TURNOUT_LOCAL_MYSQL_URL";
/** The first in which `--init-file` may hold account statements as written here. */
const OLDEST = "10.5";

async function binary(machine: Machine): Promise<Unpacked> {
  const file = await onPath("mariadbd", machine);
  if (file !== null) {
    const { stdout } = await run({ file, args: ["--version"], timeout: seconds(20) }, machine);
    if (isAtLeast(/Ver (\d+\.\d+)/.exec(stdout)?.[1] ?? "", OLDEST)) return { file, libraryPath: "" };
  }
  return unpackedDebian({ command: "mariadbd", debian: "mariadb-server-core", variable: VARIABLE }, machine);
}

export const mariadb: ExtraServer = {
  fetch: binary,
  async prepare(place, machine) {
    const named = machine.variables[VARIABLE];
    if (named) {
      const accounts = accountsOf(named, machine.rng);
      await applyAccounts(accounts).catch(() => {
        throw PROBLEM.namedSilent({ variable: VARIABLE, address: accounts.address });
      });
      return { spec: null, env: accounts.env };
    }
    return prepareOwn(await binary(machine), place, machine);
  },
};

/** The modes of its files, which it sets whatever the process may (server variables UMASK, UMASK_DIR). */
const PRIVATE = { UMASK: "0600", UMASK_DIR: "0700" };

async function prepareOwn(server: Unpacked, place: Place, machine: Machine): Promise<Prepared> {
  const { stateDir } = place;
  const port = await place.port();
  const address = `127.0.0.1:${port}`;
  const accounts = createAccounts(address, machine.rng);
  const [dataDir, socket] = [join(stateDir, "data", "mariadb"), join(stateDir, "mariadb.sock")];
  const env = { ...place.env, ...PRIVATE, ...librariesOf(server.libraryPath) };
  const common = await commonArgs(server);
  await bootstrap({ dataDir, file: server.file, args: common, env, script: join(stateDir, "secrets") }, machine);
  return {
    env: accounts.env,
    spec: {
      name: "mariadb",
      address,
      file: server.file,
      args: [
        ...common,
        `--datadir=${dataDir}`,
        `--socket=${socket}`,
        `--pid-file=${join(dataDir, "mariadbd.pid")}`,
        "--bind-address=127.0.0.1",
        `--port=${port}`,
        "--skip-name-resolve",
        // Run at each start, before anybody can connect: the passwords are new each time, and never an argument (SEC-49).
        `--init-file=${await writeAccounts(accounts, stateDir)}`,
        "--innodb-buffer-pool-size=64M",
        "--max-connections=200",
        ...securedArgs(place.identity),
      ],
      env,
      logFile: join(stateDir, "logs", "mariadb.log"),
      dataDir,
      endsWithin: seconds(20),
      isHealthy: async () => {
        if (!(await answersMysql({ host: "127.0.0.1", port }))) return false;
        await chmod(socket, 0o600); // It opens it to everybody, whatever UMASK says.
        return true;
      },
    },
  };
}

const securedArgs = (identity: Identity | undefined): readonly string[] =>
  identity === undefined
    ? []
    : [
        "--require-secure-transport=ON",
        `--ssl-ca=${identity.ca}`,
        `--ssl-cert=${identity.cert}`,
        `--ssl-key=${identity.key}`,
      ];

async function writeAccounts({ statements }: Accounts, stateDir: string): Promise<string> {
  const file = join(stateDir, "secrets", "mariadb.sql");
  await writePrivate(file, statements.map((statement) => `${statement};\n`).join(""));
  return file;
}

/** The unpacked package knows only where it would be installed; as root, the server wants to be told that it may run so. */
async function commonArgs({ file }: Unpacked): Promise<readonly string[]> {
  const base = dirname(dirname(await realpath(file)));
  return ["--no-defaults", `--basedir=${base}`, ...(process.getuid?.() === 0 ? ["--user=root"] : [])];
}

/** What mariadb-install-db feeds to the server, help texts and the `sys` and `test` databases left out. */
const SYSTEM_TABLES = ["mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql"];

interface Bootstrap {
  readonly dataDir: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Folder for its input. */
  readonly script: string;
}

/** Makes the system tables, once; whole or not at all. */
async function bootstrap({ dataDir, file, args, env, script }: Bootstrap, machine: Machine): Promise<void> {
  if (await exists(dataDir)) return;
  const half = `${dataDir}.making`;
  await rm(half, { recursive: true, force: true });
  await makePrivateFolder(half);
  const shared = await sharedFolder(dirname(dirname(await realpath(file))));
  const tables = await Promise.all(SYSTEM_TABLES.map((name) => readFile(join(shared, name), "utf8")));
  const input = join(script, "mariadb-bootstrap.sql");
  await writePrivate(input, [PROLOGUE, ...tables].join("\n"));
  const command = ["-c", 'exec "$@" < "$0"', input, file, ...args, "--bootstrap", `--datadir=${half}`];
  const { code, output } = await run({ file: "sh", args: command, env, timeout: minutes(2) }, machine);
  if (code !== 0) throw PROBLEM.commandFailed({ command: "mariadbd --bootstrap", output });
  await rename(half, dataDir);
}

/** No account under the machine's name, none without a name. */
const PROLOGUE = `create database if not exists mysql;
use mysql;
set @current_hostname = 'localhost', @skip_auth_anonymous = 1, @auth_root_socket = null;`;

async function sharedFolder(base: string): Promise<string> {
  for (const name of ["mysql", "mariadb"]) {
    const folder = join(base, "share", name);
    if (await exists(join(folder, SYSTEM_TABLES[0] ?? ""))) return folder;
  }
  throw PROBLEM.commandFailed({ command: "mariadbd", output: `no ${SYSTEM_TABLES[0]} below ${base}/share` });
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
