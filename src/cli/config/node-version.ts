// Imported first: an older Node fails inside a library, with a stack and the exit code that means "differences".
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`Turnout needs Node 22.19 or later; this is ${process.versions.node}\n`);
  process.exit(2);
}
