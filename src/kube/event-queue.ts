import { Chain, type Link } from "./chain.ts";
import type { EventToRecord } from "./event.ts";

/** An Event on its way. */
export interface Outgoing {
  /** A later heartbeat of the same series takes its place. */
  event: EventToRecord;
  /** When it was recorded, as MicroTime. */
  time: string;
  attempts: number;
  isSending: boolean;
  /** The heartbeat that came while this one was on the wire: counts must not overtake each other. */
  next: EventToRecord | null;
}

/**
 * Events that wait to be sent, in order. Of what is droppable only half the room is used; when all is full a normal one pushes
 * the oldest droppable one out; terminal ones always find room.
 */
export interface EventQueue {
  readonly size: number;
  /** What had to give way: the pushed one, another one, or nothing. */
  push(outgoing: Outgoing): Outgoing | null;
  shift(): Outgoing | undefined;
}

export function openEventQueue(capacity: number): EventQueue {
  const queue = new Chain<Outgoing>();
  const droppable = new Chain<Link<Outgoing>>();
  const places = new Map<Outgoing, Link<Link<Outgoing>>>();

  const append = (outgoing: Outgoing): void => {
    const link = queue.append(outgoing);
    if (outgoing.event.importance === "droppable") places.set(outgoing, droppable.append(link));
  };
  const forget = (outgoing: Outgoing): void => {
    const place = places.get(outgoing);
    if (place === undefined) return;
    droppable.remove(place);
    places.delete(outgoing);
  };
  return {
    get size() {
      return queue.size;
    },
    push(outgoing) {
      const { importance } = outgoing.event;
      const room = importance === "droppable" ? capacity / 2 : capacity;
      if (importance === "terminal" || queue.size < room) {
        append(outgoing);
        return null;
      }
      const victim = importance === "droppable" ? undefined : droppable.first;
      if (victim === undefined) return outgoing;
      queue.remove(victim);
      forget(victim.value);
      append(outgoing);
      return victim.value;
    },
    shift() {
      const outgoing = queue.shift();
      if (outgoing !== undefined) forget(outgoing);
      return outgoing;
    },
  };
}
