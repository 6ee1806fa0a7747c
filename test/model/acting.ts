import { isTerminal } from "../../src/domain/phase.ts";
import { never } from "../../src/lib/never.ts";
import type { Act, Outcome } from "../../src/domain/task.ts";
import { fault } from "../../src/lib/failures.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { together } from "../../src/stages/stage.ts";
import type { Machine } from "./machine.ts";
import { probe } from "./receivers.ts";
import type { Step } from "./search.ts";
import { sayFlight } from "./story.ts";
import { TIME_TO_LIVE } from "./time.ts";
import { wrongEffect } from "./truth.ts";
import { type Turn, changed, current, remembering, replaced, spend, withProcess } from "./turn.ts";
import type { Answer, Doing, Flight, Verdict, World } from "./world.ts";
import { sent } from "./writes.ts";

// An act that is under way, and the messages it sends (src/controllers/perform.ts).

/** An act that is under way: ask, send, give up. */
export function goesOn(here: Turn): readonly Step<World>[] {
  const { machine, world, process, index, telling } = here;
  const memory = process.memories[index];
  const doing = memory?.doing ?? null;
  if (memory === undefined || doing === null) return [];
  const { act } = doing.act;
  const who = `p${process.index + 1}`;
  const alive = !machine.timed || doing.age < TIME_TO_LIVE;
  if (doing.step !== "wait" && !alive) {
    const outcome: Outcome = { is: "retryable", fault: fault("ClaimExpired", { stage: act.stage }), after: null };
    return [
      {
        world: ended(here, doing, outcome),
        wrong: null,
        fair: true,
        says: telling ? `${who} is too late to send ${act.stage}` : "",
      },
    ];
  }
  switch (doing.step) {
    case "probe": {
      const receivers = act.addresses.map((address) =>
        machine.receiver(world.receivers, address, { store: act.kind === "write", fenced: true }),
      );
      const found = probe(act, receivers, at(act.inputs, "/value") ?? null);
      const says = telling ? `probe  ${act.stage} ${act.direction}: ${found.is}  ${who}` : "";
      if (found.is !== "not-in-force" || act.probe === "only")
        return [{ world: ended(here, doing, found), wrong: null, fair: true, says }];
      return [{ world: onward(here, doing), wrong: null, fair: true, says }];
    }
    case "send":
      return [
        {
          world: onward(here, doing),
          wrong: null,
          fair: true,
          says: telling ? `send   ${act.stage} ${act.direction}  ${act.fence}  ${who}` : "",
        },
      ];
    case "wait":
      return givesUp(here, doing);
    default:
      return never(doing.step);
  }
}

/** From the probe to the send; where time does not count the two are one. */
export function onward(here: Turn, doing: Doing): World {
  const { machine, world, process, index } = here;
  if (machine.timed && doing.step === "probe") {
    const next = machine.memory({ doing: machine.doing({ ...doing, step: "send" }) }, process.memories[index]);
    return withProcess(world, remembering(machine, process, index, next));
  }
  return sent(here, doing.act);
}

/** No answer in time, of one address: whether it is there nobody knows. Or it certainly is not. */
export function givesUp(here: Turn, doing: Doing): readonly Step<World>[] {
  const { machine, world, process, telling } = here;
  const open = Object.entries(doing.answers).flatMap(([address, answer]) => (answer === null ? [address] : []));
  const says = (what: string, address: string): string =>
    telling ? `${what}  ${doing.act.act.stage} to ${address}  p${process.index + 1}` : "";
  return open.flatMap((address) => {
    const mine = ({ message, from, act }: Flight): boolean =>
      message.to === address && from === process.index && act === doing.act.id;
    const heard = (answer: Answer, all: World = world): World =>
      told(machine, all, { process: process.index, doing, address, answer });
    const isUnderWay = world.flights.some(mine);
    // A request that can no longer arrive is given up for nothing: its answer never comes.
    if (machine.timed && !isUnderWay)
      return [{ world: heard("unknown"), wrong: null, fair: true, says: says("silent", address) }];
    const found: Step<World>[] = [];
    if (world.may.losses > 0) {
      const lost = spend(machine, heard("unknown"), "losses");
      found.push({ world: lost, wrong: null, fair: false, says: says("silent", address) });
    }
    if (world.may.refusals > 0 && isUnderWay) {
      const flights = world.flights.filter((flight) => !mine(flight));
      const refused = spend(machine, heard("refused", { ...world, flights }), "refusals");
      found.push({ world: refused, wrong: null, fair: false, says: says("refused", address) });
    }
    return found;
  });
}

export interface Told {
  readonly process: number;
  readonly doing: Doing;
  readonly address: string;
  readonly answer: Answer;
}

/** An answer came, or its absence is taken for one. With the last one the act is over. */
export function told(machine: Machine, world: World, { process: by, doing, address, answer }: Told): World {
  const process = world.processes[by];
  if (process === undefined) return world;
  const index = process.memories.findIndex((memory) => memory.doing === doing);
  const answers = { ...doing.answers, [address]: answer };
  const here: Turn = { machine, world, process, index, telling: false };
  const all = Object.values(answers).flatMap((one) => one ?? []);
  if (all.length === Object.keys(answers).length) return ended(here, doing, outcomeOf(doing.act.act, answers));
  const next = machine.memory({ doing: machine.doing({ ...doing, answers }) }, process.memories[index]);
  return withProcess(world, remembering(machine, process, index, next));
}

export function outcomeOf(act: Act, answers: Doing["answers"]): Outcome {
  const about = { endpoint: "receivers", address: "?" };
  const verdicts = Object.entries(answers).map(([address, answer]) => {
    switch (answer) {
      case "fenced":
        return [address, { is: "fenced", fault: fault("Fenced", { ...about, seen: "?" }) }] as const;
      case "diverged":
        return [address, { is: "diverged", fault: fault("Diverged", { ...about, seen: "?" }) }] as const;
      case "conflict":
        return [address, { is: "terminal", fault: fault("RecordMissing", { endpoint: "store", key: "?" }) }] as const;
      case "refused":
        return [address, { is: "retryable", fault: fault("ConnectRefused", about), after: null }] as const;
      case "unknown":
        return [address, { is: "unknown", fault: fault("HttpTimeout", { ...about, timeout: "3s" }) }] as const;
      default:
        return [address, { is: "acked" }] as const;
    }
  });
  return together(verdicts) ?? { is: "done", outputs: act.does === "undo" ? {} : { version: 1 } };
}

/** The outcome is in hand. Fenced: the task is read, and a claim that is no longer ours is dropped (protocol.md, On Fenced). */
export function ended(
  { machine, world, process, index }: Turn,
  doing: Doing,
  outcome: Parameters<Machine["inHand"]>[1],
): World {
  const inHand = machine.inHand(doing.act, outcome);
  const memory = machine.memory({ doing: null, inHand }, process.memories[index]);
  if (outcome.is !== "fenced") return withProcess(world, remembering(machine, process, index, memory));
  const task = world.tasks[index];
  if (task === undefined) return world;
  const open = task.status?.stages.find(({ claim }) => claim !== null)?.claim?.nonce;
  const anew = { fresh: false, rivals: null, inHand: open === doing.act.act.nonce ? inHand : null };
  const kept = machine.memory(anew, memory);
  const read = changed(machine, process, { copies: replaced(process.copies, index, current(task)) });
  return withProcess(world, remembering(machine, read, index, kept));
}

export const ANSWERS: Readonly<Record<Verdict, Answer>> = {
  applied: "acked",
  again: "acked",
  fenced: "fenced",
  diverged: "diverged",
  conflict: "conflict",
};

export function arrivals(machine: Machine, world: World, telling: boolean): readonly Step<World>[] {
  return world.flights.flatMap((flight, i) => {
    if (world.flights[i - 1] === flight) return [];
    const { receivers, verdict } = machine.received(world.receivers, flight);
    const wrong = wrongEffect(world, flight.message, verdict);
    const landed = { ...world, receivers, flights: world.flights.filter((_, other) => other !== i) };
    const there = verdict === "applied" ? leftBehind(machine, landed, flight) : landed;
    const doing = waitingFor(world, flight);
    const says = telling ? sayFlight(flight, verdict) : "";
    if (doing === null) return [{ world: there, wrong, fair: true, says }];
    const told1 = (answer: Answer): World =>
      told(machine, there, { process: flight.from, doing, address: flight.message.to, answer });
    const heard: Step<World> = { world: told1(ANSWERS[verdict]), wrong, fair: true, says };
    if (world.may.losses === 0) return [heard];
    const unheard = {
      world: spend(machine, told1("unknown"), "losses"),
      wrong,
      fair: false,
      says: `${says}, the answer is lost`,
    };
    return [heard, unheard];
  });
}

/** Nobody waits for its answer, and its receiver has seen something above it for ever: whether it arrives makes no difference. */
export function withoutDead(machine: Machine, world: World): World {
  const flights = world.flights.filter((flight) => {
    if (waitingFor(world, flight) !== null) return true;
    const { verdict } = machine.received(world.receivers, flight);
    return verdict !== "fenced" && verdict !== "diverged";
  });
  return flights.length === world.flights.length ? world : { ...world, flights };
}

/** What an abandoned task sent came in time to be found there by the next one: it is that one's before-image (S7). */
function leftBehind(machine: Machine, world: World, { message }: Flight): World {
  if (world.tasks[message.task]?.status?.abandoned === null) return world;
  const { value } = machine.receiver(world.receivers, message.to, message);
  const before = world.past.before.map((held, i) => {
    const status = world.tasks[i]?.status ?? null;
    const isNext = i !== message.task && held !== null && status !== null && !isTerminal(status.phase);
    return isNext ? { ...held, [message.to]: value } : held;
  });
  return { ...world, past: machine.past({ ...world.past, before }) };
}

/** The act that still waits for the answer to this message. */
export function waitingFor(world: World, { from, act, message }: Flight): Doing | null {
  for (const memory of world.processes[from]?.memories ?? []) {
    if (memory.doing?.act.id === act && memory.doing.answers[message.to] === null) return memory.doing;
  }
  return null;
}
