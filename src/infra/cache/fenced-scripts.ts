/**
 * The fenced operations of a redis stage, each one script, so that data, companion record and publication change together
 * (protocol.md, Before-images and companion records). KEYS: the data, its record, optionally a stream. ARGV[1]: the request as JSON.
 *
 * The record is a hash: tenant, uid, stage, fence, opId (empty while nothing of ours is in force), mode, before, written, digest,
 * replaced (the record it took the place of, one level), undo ("uid opId" of the last undo), published (opId of the last publication
 * of an undo). It has no expiry. Answers are arrays of strings: a verdict and its facts.
 */
const COMMON = `
local ask = cjson.decode(ARGV[1])
local data, record = KEYS[1], KEYS[2]

local function hash(key)
  local flat, map = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do map[flat[i]] = flat[i + 1] end
  return map
end

local function kind(key)
  local answer = redis.call('TYPE', key)
  return type(answer) == 'table' and answer.ok or answer
end

local old = kind(record) == 'hash' and hash(record) or {}

local function fence_of(rec)
  local fence = rec.fence or ''
  return string.match(fence, '^%d%d%d%d%d%d%d%d%d%d%-%d%d%d%d%d%d%d%d$') and fence or '0000000000-00000000'
end

-- Whose record it is and whether the fence that comes may act. Nil: it may.
local function refused()
  if old.tenant and old.tenant ~= ask.tenant then return {'foreign', old.tenant} end
  local seen = fence_of(old)
  if seen > ask.fence then return {'fenced', seen} end
  local mine = old.opId == ask.opId or old.undo == ask.undo or old.published == ask.opId
  if seen > ask.base and seen < ask.fence and not mine then return {'diverged', seen} end
  if seen == ask.fence and not mine then return {'diverged', seen} end
  return nil
end

-- What stands there now, in the terms of what this stage writes: value per field, false where there is none.
local function now_of(names)
  if ask.mode == 'string' then return {value = redis.call('GET', data)} end
  local now = {}
  for _, name in ipairs(names) do now[name] = redis.call('HGET', data, name) end
  return now
end

local function names_of(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function same(a, b)
  for name, value in pairs(a) do if (b[name] or false) ~= value then return false end end
  return true
end

local function evicts()
  local policy = string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:([%w%-]+)') or 'unknown'
  if string.find(policy, '^allkeys') then return {'evicts', policy} end
  return nil
end

local function publish()
  if ask.channel then redis.call('PUBLISH', ask.channel, ask.payload) end
  if KEYS[3] then
    local entry = {}
    for _, name in ipairs(names_of(ask.entry)) do entry[#entry + 1] = name; entry[#entry + 1] = ask.entry[name] end
    redis.call('XADD', KEYS[3], '*', unpack(entry))
  end
end

local function wrong_type()
  local found = kind(data)
  if found ~= 'none' and found ~= ask.mode then return {'type', found} end
  if KEYS[3] then
    found = kind(KEYS[3])
    if found ~= 'none' and found ~= 'stream' then return {'type', found} end
  end
  if kind(record) ~= 'none' and kind(record) ~= 'hash' then return {'type', 'record'} end
  return nil
end
`;

/** → written | in-force | foreign TENANT | fenced SEEN | diverged SEEN | type FOUND | evicts POLICY */
export const WRITE = `${COMMON}
local no = refused() or evicts() or wrong_type()
if no then return no end
if old.opId == ask.opId then
  redis.call('HSET', record, 'fence', ask.fence)
  return {'in-force'}
end
local names = names_of(ask.written)
local before = {exists = redis.call('EXISTS', data) == 1, expires = redis.call('PEXPIRETIME', data), values = now_of(names)}
local replaced = ''
if old.tenant then
  old.replaced = nil
  replaced = cjson.encode(old)
end
if ask.mode == 'string' then
  redis.call('SET', data, ask.written.value)
else
  for _, name in ipairs(names) do redis.call('HSET', data, name, ask.written[name]) end
end
if ask.ttl > 0 then redis.call('PEXPIRE', data, ask.ttl) end
redis.call('DEL', record)
redis.call('HSET', record, 'tenant', ask.tenant, 'uid', ask.uid, 'stage', ask.stage, 'fence', ask.fence, 'opId', ask.opId,
  'mode', ask.mode, 'before', cjson.encode(before), 'written', cjson.encode(ask.written), 'digest', ask.digest, 'replaced', replaced)
publish()
return {'written'}
`;

/** → restored | nothing | again | drift KEYS… | conflict WHY | foreign TENANT | fenced SEEN | diverged SEEN | type FOUND */
export const RESTORE = `${COMMON}
local no = refused() or wrong_type()
if no then return no end
local function sign()
  redis.call('HSET', record, 'tenant', ask.tenant, 'fence', ask.fence, 'undo', ask.undo)
end
if old.undo == ask.undo then sign() return {'again'} end
if old.opId ~= ask.undoes then
  local lost = ask.settled or (not old.tenant and same(ask.written, now_of(names_of(ask.written))))
  if lost then
    redis.call('HSET', record, 'tenant', ask.tenant, 'fence', ask.fence)
    return {'conflict', 'record'}
  end
  -- Nothing of ours is in force, but a delayed original must meet the fence.
  sign()
  return {'nothing'}
end
local written, before = cjson.decode(old.written), cjson.decode(old.before)
local names, drifted, restore = names_of(written), {}, {}
local now = now_of(names)
for _, name in ipairs(names) do
  local was = before.values[name] or false
  if now[name] == written[name] then restore[#restore + 1] = name
  elseif now[name] ~= was then drifted[#drifted + 1] = name end
end
if #drifted > 0 and ask.onDrift == 'Hold' then
  redis.call('HSET', record, 'fence', ask.fence)
  return {'drift', unpack(drifted)}
end
if ask.onDrift == 'Overwrite' then for _, name in ipairs(drifted) do restore[#restore + 1] = name end end
for _, name in ipairs(restore) do
  local was = before.values[name] or false
  if ask.mode == 'string' then
    if was then redis.call('SET', data, was) else redis.call('DEL', data) end
  elseif was then redis.call('HSET', data, name, was)
  else redis.call('HDEL', data, name) end
end
if before.exists and #restore > 0 then
  if before.expires > 0 then redis.call('PEXPIREAT', data, before.expires) else redis.call('PERSIST', data) end
end
redis.call('DEL', record)
if old.replaced and old.replaced ~= '' then
  local flat = {}
  for name, value in pairs(cjson.decode(old.replaced)) do flat[#flat + 1] = name; flat[#flat + 1] = value end
  redis.call('HSET', record, unpack(flat))
end
sign()
return {'restored', unpack(ask.onDrift == 'Keep' and drifted or {})}
`;

/** The undo's own publication. → published | again | foreign TENANT | fenced SEEN | diverged SEEN | type FOUND */
export const PUBLISH = `${COMMON}
local no = refused() or wrong_type()
if no then return no end
redis.call('HSET', record, 'tenant', ask.tenant, 'fence', ask.fence)
if old.published == ask.opId then return {'again'} end
redis.call('HSET', record, 'published', ask.opId)
publish()
return {'published'}
`;

/** Changes nothing. → record OPID UNDO FENCE (yes|no: the data is what was asked about) | foreign TENANT | none (yes|no) */
export const WHOSE = `${COMMON}
local no = refused()
if no and no[1] == 'foreign' then return no end
if kind(data) ~= 'none' and kind(data) ~= ask.mode then return {'type', kind(data)} end
local ours = same(ask.written, now_of(names_of(ask.written))) and 'yes' or 'no'
if not old.tenant then return {'none', ours} end
return {'record', old.opId or '', old.undo or '', fence_of(old), ours}
`;
