import type { TracerProviderOptions } from "@opentelemetry/sdk-trace";

type Resource = NonNullable<TracerProviderOptions["resource"]>;

/** Who sends. The SDK's own resources look for the host, the user and the command line: nothing of that is anybody's business. */
export function resourceOf(attributes: Readonly<Record<string, string>>): Resource {
  const resource: Resource = {
    attributes: { ...attributes },
    asyncAttributesPending: false,
    merge: () => resource,
    getRawAttributes: () => Object.entries(attributes),
  };
  return resource;
}
