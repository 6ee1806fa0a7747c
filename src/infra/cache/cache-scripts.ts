/** KEYS value, lease; ARGV token, milliseconds. The value; else nil, and from now on the token may store one. */
export const LEASED_GET = `
local value = redis.call('GET', KEYS[1])
if value then return value end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return false`;

/** KEYS value, lease; ARGV token, value, milliseconds. Stores only what nobody has set or deleted since the lease was given. */
export const LEASED_SET = `
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[2])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`;

/** KEYS value, lease; ARGV value, milliseconds. */
export const SET = `
redis.call('UNLINK', KEYS[2])
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])`;

/** KEYS values, then as many leases. */
export const DELETE = `
local half = #KEYS / 2
redis.call('UNLINK', unpack(KEYS, half + 1))
return redis.call('UNLINK', unpack(KEYS, 1, half))`;

/** KEYS key; ARGV command, milliseconds, its arguments. A crash in between would leave a key that never ends. */
export const WRITE_WITH_LIFE = `
local answer = redis.call(ARGV[1], KEYS[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return answer`;

/** KEYS key; ARGV number, milliseconds. The life of a counter begins with its first count. */
export const INCREMENT = `
local answer = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return answer`;

/** KEYS lock; ARGV token, milliseconds. Also true where the same token holds it already: the answer was lost. */
export const TAKE_LOCK = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`;

/** KEYS lock; ARGV token, milliseconds. Never shortens what is left. */
export const EXTEND_LOCK = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1`;

/** KEYS lock; ARGV token. */
export const RELEASE_LOCK = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`;
