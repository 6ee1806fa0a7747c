import { chmod } from "node:fs/promises";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { join } from "node:path";

import { PROBLEM } from "./problem.ts";
import { SERVER_NAMES, type Server, type ServerName } from "./server.ts";
import { CONTROL_SOCKET } from "./state-dir.ts";

/** What other processes learn of a server. */
interface ServerView {
  readonly name: ServerName;
  readonly address: string;
  readonly logFile: string;
  readonly dataDir: string | null;
  readonly pid: number | null;
}

/** Lets other processes of this user stop and start the servers, over a socket in the state folder. Gives back how to close it. */
export async function openControl(stateDir: string, servers: readonly Server[]): Promise<() => Promise<void>> {
  const http = createServer((incoming, response) => {
    incoming.resume();
    answer(incoming, servers).then(
      (body) => reply(response, 200, body),
      (error: unknown) => reply(response, 409, { problem: error instanceof Error ? error.message : String(error) }),
    );
  });
  const path = join(stateDir, CONTROL_SOCKET);
  await new Promise<void>((resolve, reject) => {
    http.once("error", reject);
    http.listen(path, resolve);
  });
  await chmod(path, 0o600);
  return () =>
    new Promise<void>((closed) => {
      http.close(() => closed());
      http.closeAllConnections();
    });
}

/** `GET /`, `POST /NAME/start`, `POST /NAME/stop`, `POST /NAME/kill` */
async function answer({ method, url }: IncomingMessage, servers: readonly Server[]): Promise<readonly ServerView[]> {
  if (method === "POST") {
    const [, name = "", verb = ""] = (url ?? "").split("/");
    const server = servers.find((server) => server.name === name);
    if (server === undefined) throw PROBLEM.unknownServer({ name, known: servers.map(({ name }) => name).join(", ") });
    await perform(server, verb);
  }
  return servers.map(({ name, address, logFile, dataDir, pid }) => ({ name, address, logFile, dataDir, pid }));
}

function perform(server: Server, verb: string): Promise<void> {
  switch (verb) {
    case "start":
      return server.start();
    case "stop":
      return server.stop("SIGTERM");
    case "kill":
      return server.stop("SIGKILL");
    default:
      throw new Error(`no such command: ${verb}`);
  }
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json", connection: "close" }).end(JSON.stringify(body));
}

/** The servers of an environment that another process runs. @throws where none runs in the folder */
export async function connectServers(stateDir: string): Promise<readonly Server[]> {
  const views = await call(stateDir, { method: "GET", path: "/" });
  return views.filter(({ name }) => SERVER_NAMES.includes(name)).map((view) => new RemoteServer(stateDir, view));
}

class RemoteServer implements Server {
  readonly name: ServerName;
  readonly address: string;
  readonly logFile: string;
  readonly dataDir: string | null;
  readonly #stateDir: string;
  #pid: number | null;

  constructor(stateDir: string, { name, address, logFile, dataDir, pid }: ServerView) {
    this.name = name;
    this.address = address;
    this.logFile = logFile;
    this.dataDir = dataDir;
    this.#stateDir = stateDir;
    this.#pid = pid;
  }
  /** As of the last call. */
  get pid(): number | null {
    return this.#pid;
  }
  start(): Promise<void> {
    return this.#post("start");
  }
  stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    return this.#post(signal === "SIGKILL" ? "kill" : "stop");
  }
  async #post(verb: string): Promise<void> {
    const views = await call(this.#stateDir, { method: "POST", path: `/${this.name}/${verb}` });
    this.#pid = views.find((view) => view.name === this.name)?.pid ?? null;
  }
}

/** Longer than any start of a server may take. */
const CALL_MS = 120_000;

function call(stateDir: string, { method, path }: { method: string; path: string }): Promise<readonly ServerView[]> {
  return new Promise((resolve, reject) => {
    const outgoing = request({
      socketPath: join(stateDir, CONTROL_SOCKET),
      method,
      path,
      agent: false,
      timeout: CALL_MS,
    });
    outgoing.on("error", reject);
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer from the environment in ${stateDir}`)));
    outgoing.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("error", reject);
      response.on("end", () => {
        const body = JSON.parse(text) as readonly ServerView[] | { readonly problem: string };
        if ("problem" in body) reject(new Error(body.problem));
        else resolve(body);
      });
    });
    outgoing.end();
  });
}
