import { pbkdf2Sync, randomBytes } from "node:crypto";
import { readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";

import { hexDigest } from "../../src/lib/digest.ts";
import { minutes, seconds } from "../../src/lib/time.ts";
import { cached } from "./cache.ts";
import { onPath, run } from "./command.ts";
import type { ExtraServer, Identity, Place } from "./extra.ts";
import type { Machine } from "./machine.ts";
import { makePrivateFolder, writePrivate } from "./private-file.ts";
import { answersKafka } from "./probe.ts";
import { PROBLEM } from "./problem.ts";
import type { ServerSpec } from "./server.ts";

/** Names running brokers to use instead: `HOST:PORT,…`. */
const VARIABLE = "TURNOUT_LOCAL_KAFKA_BROKERS";
const POM = join(import.meta.dirname, "kafka", "pom.xml");
const LOGGING = join(import.meta.dirname, "kafka", "log4j.properties");

interface Kafka {
  readonly java: string;
  /** Folder of its jars. */
  readonly libraries: string;
}

async function binary(machine: Machine): Promise<Kafka> {
  const pom = await readFile(POM, "utf8");
  const title = `Kafka ${/kafka_2\.13<\/artifactId>\s*<version>([^<]+)/.exec(pom)?.[1] ?? ""}`;
  const java = await command("java", "default-jre-headless", machine);
  const entry = { key: `kafka-${hexDigest(pom).slice(0, 16)}`, title, how: "download", expected: minutes(1) } as const;
  return { java, libraries: await cached(entry, (into) => fetchJars(into, machine), machine) };
}

async function command(name: string, debian: string, machine: Machine): Promise<string> {
  const file = await onPath(name, machine);
  if (file === null) throw PROBLEM.noPackage({ command: name, debian, variable: VARIABLE, why: "Kafka needs it" });
  return file;
}

async function fetchJars(into: string, machine: Machine): Promise<void> {
  const maven = await command("mvn", "maven", machine);
  const repository = join(into, "repository");
  const args = [
    ["--batch-mode", "--quiet", "--file", POM, `-Dmaven.repo.local=${repository}`],
    ["org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies", `-DoutputDirectory=${into}`],
  ].flat();
  const { code, output } = await run({ file: maven, args, cwd: into, timeout: minutes(15) }, machine);
  if (code !== 0) throw PROBLEM.commandFailed({ command: `mvn ${args.join(" ")}`, output: output.slice(-2000) });
  await rm(repository, { recursive: true, force: true });
}

/** 16 bytes as Kafka writes them; one that begins with a dash would be taken for an option. */
export function clusterId(bytes: Buffer): string {
  const text = bytes.toString("base64url");
  return text.startsWith("-") ? `A${text.slice(1)}` : text;
}

/** Small and quick, on one core as well; no file of its own outside the state folder. */
const JVM = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"];

const onJvm = ({ libraries }: Kafka, { stateDir }: Place, args: readonly string[]): readonly string[] => [
  ...JVM,
  "-Djava.net.preferIPv4Stack=true",
  `-Djava.io.tmpdir=${stateDir}`,
  `-Dlog4j.configuration=file:${LOGGING}`,
  "-cp",
  join(libraries, "*"),
  ...args,
];

interface Settings {
  readonly dataDir: string;
  readonly port: number;
  readonly controller: number;
  /** A further listener with TLS and SCRAM. */
  readonly secured: Secured | null;
}
interface Secured {
  readonly port: number;
  /** Key and certificate in one file. */
  readonly keystore: string;
  readonly username: string;
  readonly password: string;
}

const listenersOf = ({ port, secured }: Settings): readonly string[] => [
  `PLAINTEXT://127.0.0.1:${port}`,
  ...(secured === null ? [] : [`SECURED://127.0.0.1:${secured.port}`]),
];

const securedLines = ({ keystore }: Secured): readonly string[] => [
  "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL",
  "sasl.enabled.mechanisms=SCRAM-SHA-512",
  "listener.name.secured.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
  "listener.name.secured.ssl.keystore.type=PEM",
  `listener.name.secured.ssl.keystore.location=${keystore}`,
];

/** The user as the store is made with it: salted (RFC 5802), so that the password itself is never an argument (SEC-49). */
function scramOf({ username, password }: Secured): string {
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, SCRAM_ROUNDS, 64, "sha512").toString("base64");
  return `SCRAM-SHA-512=[name=${username},iterations=${SCRAM_ROUNDS},salt="${salt.toString("base64")}",saltedpassword="${salted}"]`;
}
/** Kafka's least. */
const SCRAM_ROUNDS = 4096;

/** One node that is broker and controller (KRaft). Everything is kept once, and nothing waits for others to come. */
const properties = (about: Settings): string =>
  [
    "process.roles=broker,controller",
    "node.id=1",
    `listeners=${[...listenersOf(about), `CONTROLLER://127.0.0.1:${about.controller}`].join(",")}`,
    `advertised.listeners=${listenersOf(about).join(",")}`,
    "controller.listener.names=CONTROLLER",
    ...(about.secured === null ? [] : securedLines(about.secured)),
    `controller.quorum.voters=1@127.0.0.1:${about.controller}`,
    `log.dirs=${about.dataDir}`,
    "auto.create.topics.enable=false",
    "offsets.topic.num.partitions=1",
    "offsets.topic.replication.factor=1",
    "transaction.state.log.num.partitions=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "group.initial.rebalance.delay.ms=0",
    // A consumer that was killed is missed soon, and so is the broker: until then its successor may not begin.
    "group.min.session.timeout.ms=1000",
    "broker.session.timeout.ms=2000",
    "broker.heartbeat.interval.ms=500",
    "",
  ].join("\n");

export const kafka: ExtraServer = {
  fetch: binary,
  async prepare(place, machine) {
    const named = machine.variables[VARIABLE];
    if (named) {
      for (const address of named.split(",")) {
        const answers = await answersKafka(endpointOf(address)).catch(() => false);
        if (!answers) throw PROBLEM.namedSilent({ variable: VARIABLE, address });
      }
      return { spec: null, env: { KAFKA_BROKERS: named } };
    }
    const secured = place.identity === undefined ? null : await securedOf(place.identity, place, machine);
    const spec = await kafkaSpec(await binary(machine), { ...place, secured }, machine);
    const access = secured === null ? {} : accessOf(secured);
    return { spec, env: { KAFKA_BROKERS: spec.address, ...access } };
  },
};

const endpointOf = (address: string): { readonly host: string; readonly port: number } => {
  const at = address.lastIndexOf(":");
  return { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
};

const accessOf = ({ port, username, password }: Secured): Readonly<Record<string, string>> => ({
  KAFKA_TLS_BROKERS: `127.0.0.1:${port}`,
  KAFKA_USERNAME: username,
  KAFKA_PASSWORD: password,
});

async function securedOf({ cert, key }: Identity, { stateDir, port }: Place, { rng }: Machine): Promise<Secured> {
  const keystore = join(stateDir, "secrets", "kafka.pem");
  await writePrivate(keystore, `${await readFile(key, "utf8")}${await readFile(cert, "utf8")}`);
  return { port: await port(), keystore, username: "turnout", password: rng.id() + rng.id() };
}

type KafkaPlace = Place & { readonly secured: Secured | null };

async function kafkaSpec(kafka: Kafka, place: KafkaPlace, machine: Machine): Promise<ServerSpec> {
  const { stateDir, env, secured } = place;
  const [port, controller] = [await place.port(), await place.port()];
  const dataDir = join(stateDir, "data", "kafka");
  const settings = join(stateDir, "kafka.properties");
  await writePrivate(settings, properties({ dataDir, port, controller, secured }));
  await makePrivateFolder(dataDir);
  const isFormatted = await stat(join(dataDir, "meta.properties")).then(
    () => true,
    () => false,
  );
  if (!isFormatted) {
    const cluster = clusterId(randomBytes(16));
    const users = secured === null ? [] : ["--add-scram", scramOf(secured)];
    const args = ["kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", settings, ...users];
    const format = { file: kafka.java, args: onJvm(kafka, place, args), env, timeout: minutes(2) };
    const { code, output } = await run(format, machine);
    if (code !== 0) throw PROBLEM.commandFailed({ command: "StorageTool format", output });
  }
  return {
    name: "kafka",
    address: `127.0.0.1:${port}`,
    file: kafka.java,
    args: onJvm(kafka, place, ["kafka.Kafka", settings]),
    env,
    logFile: join(stateDir, "logs", "kafka.log"),
    dataDir,
    endsWithin: seconds(20),
    isHealthy: () => answersKafka({ host: "127.0.0.1", port }),
  };
}
