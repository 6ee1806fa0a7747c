// deployment/testing: runs the layers of `npm test`, counts them, and looks for what they leave behind.
// Nothing here knows what a test tests.
import { z } from "zod";

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

const reportSchema = z.object({
  success: z.boolean(),
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numPendingTests: z.number(),
  testResults: z
    .array(z.object({ status: z.string(), assertionResults: z.array(z.object({ status: z.string() })) }))
    .default([]),
});

/**
 * Counts of vitest's JSON report. A file that failed as a whole counts as one failure, and so does anything that must not look
 * like success: no report, no test, an exit code that nothing in the report explains.
 */
export function tallyOf(reportText: string | null, exitCode: number | null): Tally {
  const report = reportSchema.safeParse(parseJson(reportText));
  if (!report.success) return { passed: 0, failed: 1, skipped: 0 };
  const { success, numPassedTests, numFailedTests, numPendingTests, testResults } = report.data;
  const brokenFiles = testResults.filter(
    ({ status, assertionResults }) => status === "failed" && !assertionResults.some((one) => one.status === "failed"),
  );
  const failed = numFailedTests + brokenFiles.length;
  const isUnexplained = failed === 0 && (exitCode !== 0 || !success || numPassedTests === 0);
  return { passed: numPassedTests, failed: isUnexplained ? 1 : failed, skipped: numPendingTests };
}

function parseJson(text: string | null): unknown {
  try {
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}
