import fc from "fast-check";
import { expect, test } from "vitest";

import { Chain, type Link } from "../../src/kube/chain.ts";

test("whatever is appended, shifted and removed, a chain holds what an array would", () => {
  const commands = fc.array(fc.oneof(fc.constant("append" as const), fc.constant("shift" as const), fc.nat(20)), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(commands, (steps) => {
      const chain = new Chain<number>();
      const links: Link<number>[] = [];
      let next = 0;
      for (const step of steps) {
        const at = typeof step === "number" ? links[step % Math.max(links.length, 1)] : undefined;
        if (step === "append") links.push(chain.append((next += 1)));
        if (step === "shift" && chain.shift() !== undefined) links.shift();
        if (at !== undefined) {
          chain.remove(at);
          links.splice(links.indexOf(at), 1);
        }
        expect([...chain]).toEqual(links.map(({ value }) => value));
        expect([chain.size, chain.first]).toEqual([links.length, links[0]?.value]);
      }
    }),
  );
});
