import { z } from "zod";

/** A test that ran: its full title and, where it failed, what was said. */
export interface Ran {
  readonly title: string;
  readonly failed: boolean;
  readonly said: string;
}

const reportSchema = z.object({
  testResults: z.array(
    z.object({
      assertionResults: z.array(
        z.object({ fullName: z.string(), status: z.string(), failureMessages: z.array(z.string()).nullish() }),
      ),
    }),
  ),
});

/** Of vitest's JSON report; tests that the run left out are not in it. @throws where there is no report: nothing ran. */
export const ranIn = (report: string): readonly Ran[] =>
  reportSchema
    .parse(JSON.parse(report))
    .testResults.flatMap((file) => file.assertionResults)
    .filter(({ status }) => status === "passed" || status === "failed")
    .map(({ fullName, status, failureMessages }) => ({
      title: fullName,
      failed: status === "failed",
      said: failureMessages?.join("\n") ?? "",
    }));

const ID = /\[[A-Z]+-?\d+\]/g;
/** More ids than this in a title: then the failure itself has to say which of them it is. */
const FEW = 4;

/** A failure that shows `id`: its title names it, and where the title names many, its message too. */
export function shows({ title, failed, said }: Ran, id: string): boolean {
  const ids: readonly string[] = title.match(ID) ?? [];
  return failed && ids.includes(`[${id}]`) && (ids.length <= FEW || said.includes(`[${id}]`));
}
