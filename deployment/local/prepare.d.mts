interface Packages {
  readonly packages?: Readonly<
    Record<string, { readonly version?: string; readonly integrity?: string; readonly optional?: boolean }>
  >;
}

/** Whether what npm recorded as installed is what the lock file names; optional packages may be missing. */
export function isInstalled(lock: Packages, record: Packages): boolean;
