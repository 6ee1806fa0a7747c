/** The end of a total switch: a new member of the union stops the build at every place it touches. */
export function never(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
