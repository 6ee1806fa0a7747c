import { aborted } from "../../lib/deadline.ts";
import type { KeyValue } from "../coord/coord.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { CENTRE_LAYERS, type CentreLayer, type Known } from "./choose.ts";
import type { Heard } from "./follow-key.ts";

/** Who is told what the centre says. */
export interface Listener {
  heard(centre: Known["centre"]): Promise<void>;
  /** Null: every layer is heard. */
  linked(cause: string | null): void;
}

/** Collects what is heard of a component's layers before there is a value, and passes on everything after. */
export class Hearing {
  readonly #layers: readonly CentreLayer[];
  readonly #metrics: Metrics;
  readonly #values: Partial<Record<CentreLayer, KeyValue | null>> = {};
  readonly #lost = new Map<CentreLayer, string>();
  #listener: Listener | null = null;
  #wake: () => void = () => undefined;

  /** No layers: there is no centre, and nothing will be heard. */
  constructor(layers: readonly CentreLayer[], metrics: Metrics) {
    this.#layers = layers;
    this.#metrics = metrics;
    // A layer that the component does not have is one in which nothing stands.
    for (const layer of CENTRE_LAYERS) if (!layers.includes(layer)) this.#values[layer] = null;
  }

  take(layer: CentreLayer, heard: Heard): void {
    if (heard.kind === "lost") {
      this.#lost.set(layer, heard.cause);
      if (heard.failure !== null) {
        this.#metrics.count("infra_errors_total", { component: "config", type: heard.failure.type });
      }
    } else this.#lost.delete(layer);
    if (heard.kind === "value") this.#values[layer] = heard.found;
    this.#listener?.linked(this.#cause());
    if (heard.kind !== "value") return;
    this.#wake();
    void this.#listener?.heard({ [layer]: heard.found });
  }

  known(): Known["centre"] {
    return { ...this.#values };
  }

  /** Ends when every layer was heard once, or with the signal. */
  async whole(late: AbortSignal): Promise<void> {
    const ended = aborted(late);
    while (!late.aborted && this.#layers.some((layer) => this.#values[layer] === undefined)) {
      const woken = Promise.withResolvers<void>();
      this.#wake = woken.resolve;
      await Promise.race([woken.promise, ended]);
    }
  }

  async passTo(listener: Listener): Promise<void> {
    this.#listener = listener;
    listener.linked(this.#cause());
    await listener.heard(this.known());
  }

  #cause(): string | null {
    const lost = this.#lost.values().next();
    if (lost.done !== true) return lost.value;
    return this.#layers.some((layer) => this.#values[layer] === undefined) ? "it gave no answer yet" : null;
  }
}
