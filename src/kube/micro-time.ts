import { formatInstant, type Instant } from "../lib/time.ts";

/** Kubernetes' MicroTime: exactly six digits of a second. */
export const formatMicroTime = (at: Instant): string => formatInstant(at).replace("Z", "000Z");
