/** Every answer that is not 200, once: its code and its status. docs/receiver-guide.md lists them. */
export const REFUSALS = {
  BaseMalformed: 400,
  BodyMalformed: 400,
  FenceMalformed: 400,
  OperationMalformed: 400,
  PathMalformed: 400,
  TenantDiffers: 400,
  Unauthenticated: 401,
  UnknownPath: 404,
  UnknownTenant: 404,
  MethodNotAllowed: 405,
  BodyLate: 408,
  ContentDiffers: 409,
  Diverged: 412,
  Fenced: 412,
  BodyTooLarge: 413,
  ContentTypeUnsupported: 415,
  FenceMissing: 428,
  ApplyFailed: 500,
  ApplyTimeout: 500,
  Internal: 500,
  StoreFailed: 500,
  AuthenticationUnavailable: 503,
  Busy: 503,
  Closing: 503,
  StoreUnavailable: 503,
} as const satisfies Readonly<Record<string, number>>;
export type RefusalCode = keyof typeof REFUSALS;

/** Seconds until a caller that got 503 may come back. 503 is said only where the operation had no effect. */
export const RETRY_AFTER = 1;
