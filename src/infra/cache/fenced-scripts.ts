/**
 * The fenced operations of a redis stage, each one script, so that data, companion record and publication change together
 * (protocol.md, Before-images and companion records). KEYS: the data, its record, optionally a stream. ARGV[1]: the request as JSON.
 *
 * The record is a hash without expiry: tenant, uid, stage, fence, last (opId of whoever wrote that fence), opId (in force; absent
 * while nothing of ours is), mode, before, written, digest, others (fields beside ours, to notice what others do), ttl and expiry
 * (what the write set), pending (`yes` until the last step of a write is done), replaced (the record it took the place of, one
 * level), undo ("uid opId" of the last undo), published (opId of the last publication of an undo).
 *
 * A script that fails half-way is not taken back by the server. So each begins with the fence, a write notes its before-image before
 * it touches the data, and every step may be done again. Answers are arrays of strings: a verdict and its facts.
 */
const COMMON = `
local ask = cjson.decode(ARGV[1])
local data, record = KEYS[1], KEYS[2]

-- An error reply ends the script under its own code. Redis 7.0 says ERR where an account may not do what a script does.
local function call(...)
  local answer = redis.pcall(...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  local denied = string.find(answer.err, 'The user executing the script', 1, true)
  error({code = denied and 'NOPERM' or string.match(answer.err, '^%-?(%u%u+)') or 'ERR'})
end

local function guarded(main)
  local fine, answer = pcall(main)
  if fine then return answer end
  if type(answer) == 'table' and answer.code then return redis.error_reply(answer.code .. ' in a script') end
  error(answer)
end

local function has(text) return text ~= nil and text ~= '' end
local function short(text) return string.sub(text or '', 1, 128) end
local function kind(key) return call('TYPE', key).ok end

local function hash(key)
  local flat, map = call('HGETALL', key), {}
  for i = 1, #flat, 2 do map[flat[i]] = flat[i + 1] end
  return map
end

local function put(key, map)
  local flat = {}
  for name, value in pairs(map) do flat[#flat + 1] = name; flat[#flat + 1] = value end
  call('HSET', key, unpack(flat))
end

local held, old

local function look()
  held = kind(record)
  old = held == 'hash' and hash(record) or {}
end

-- Whose record it is and whether the claim that comes may act. Nil: it may.
local function refused()
  look()
  local sound = string.match(old.fence or '', '^%d%d%d%d%d%d%d%d%d%d%-%d%d%d%d%d%d%d%d$')
  if held ~= 'none' and not (old.tenant and sound) then return {'damaged'} end
  if old.tenant and old.tenant ~= ask.tenant then return {'foreign', short(old.tenant)} end
  local seen = old.fence or '0000000000-00000000'
  if seen > ask.fence then return {'fenced', seen} end
  if seen > ask.base and seen < ask.fence then return {'diverged', seen} end
  if seen == ask.fence and old.last ~= ask.opId then return {'diverged', seen} end
  return nil
end

local function claim() put(record, {tenant = ask.tenant, fence = ask.fence, last = ask.opId}) end

-- A record has no expiry, so volatile-* spares it. A server that does not tell its policy may have any.
local function evicts()
  local policy = string.match(call('INFO', 'memory'), 'maxmemory_policy:([%w%-]+)') or 'unknown'
  if policy == 'unknown' or string.find(policy, '^allkeys') then return {'evicts', policy} end
  return nil
end

local function wrong_type(key, wanted)
  local found = kind(key)
  if found ~= 'none' and found ~= wanted then return {'type', found} end
  return nil
end

local function names_of(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- What stands there of these names: false where there is none, or where the key is of another type.
local function now_of(mode, names)
  local now, there = {}, kind(data) == mode
  for _, name in ipairs(names) do
    if not there then now[name] = false
    elseif mode == 'string' then now[name] = call('GET', data)
    else now[name] = call('HGET', data, name) end
  end
  return now
end

local function same(a, b)
  for name, value in pairs(a) do if (b[name] or false) ~= value then return false end end
  return true
end

local function ours_stands() return same(ask.written, now_of(ask.mode, names_of(ask.written))) end

local function millis()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Milliseconds since the epoch as text, because a number would be rounded; empty where the key stays. PEXPIRETIME came with 7.0.
local function expiry_of(key)
  local at = redis.pcall('PEXPIRETIME', key)
  if type(at) ~= 'number' then
    local left = call('PTTL', key)
    at = left < 0 and left or millis() + left
  end
  return at < 0 and '' or string.format('%.0f', at)
end

-- The key is gone because the expiry that it had after our write has passed: nobody changed it.
local function lapsed()
  return has(old.expiry) and kind(data) == 'none' and millis() >= tonumber(old.expiry)
end

local function publish()
  if ask.channel then call('PUBLISH', ask.channel, ask.payload) end
  if KEYS[3] then
    local entry = {}
    for _, name in ipairs(names_of(ask.entry)) do entry[#entry + 1] = name; entry[#entry + 1] = ask.entry[name] end
    call('XADD', KEYS[3], '*', unpack(entry))
  end
end
`;

const script = (body: string, own = ""): string => `${COMMON}${own}return guarded(function()\n${body}\nend)\n`;

/** What others keep in the same hash, as far as it is small enough to keep. */
const OTHERS = `
local function others_of(mode, ours)
  if mode ~= 'hash' then return '' end
  if kind(data) == 'none' then return '{}' end
  if kind(data) ~= 'hash' or call('HLEN', data) > 256 then return '' end
  local size = 0
  for _, name in ipairs(call('HKEYS', data)) do size = size + #name + call('HSTRLEN', data, name) end
  if size > 16384 then return '' end
  local map = hash(data)
  for name in pairs(ours) do map[name] = nil end
  return cjson.encode(map)
end
`;

/** → written | in-force | damaged | foreign TENANT | fenced SEEN | diverged SEEN | type FOUND | evicts POLICY */
export const WRITE = script(
  `
local no = refused() or wrong_type(data, ask.mode) or (KEYS[3] and wrong_type(KEYS[3], 'stream')) or evicts()
if no then return no end
local mine = old.opId == ask.opId
if mine and not has(old.pending) then
  claim()
  return {'in-force'}
end
if mine then
  -- Broken off by an error reply: everything is done again but the before-image.
  claim()
else
  local before = {
    exists = kind(data) ~= 'none', expires = expiry_of(data), values = now_of(ask.mode, names_of(ask.written))
  }
  local replaced = ''
  if old.tenant then
    old.replaced = ''
    replaced = cjson.encode(old)
  end
  put(record, {
    tenant = ask.tenant, uid = ask.uid, stage = ask.stage, fence = ask.fence, last = ask.opId, opId = ask.opId, mode = ask.mode,
    before = cjson.encode(before), written = cjson.encode(ask.written), digest = ask.digest,
    others = others_of(ask.mode, ask.written), ttl = tostring(ask.ttl), expiry = '', pending = 'yes', replaced = replaced,
    undo = '', published = ''
  })
end
if ask.mode == 'string' then call('SET', data, ask.written.value) else put(data, ask.written) end
if ask.ttl > 0 then call('PEXPIRE', data, ask.ttl) end
put(record, {expiry = expiry_of(data)})
publish()
put(record, {pending = ''})
return {'written'}
`,
  OTHERS,
);

const RESTORING = `
-- The expiry that the key had before.
local function set_expiry(before)
  if has(before.expires) then call('PEXPIREAT', data, before.expires)
  elseif expiry_of(data) ~= '' then call('PERSIST', data) end
end

local function set_value(before, name)
  local was = before.values[name] or false
  if old.mode == 'string' then
    if was then call('SET', data, was, 'KEEPTTL') else call('DEL', data) end
  elseif was then call('HSET', data, name, was)
  else call('HDEL', data, name) end
end

local function restore(before, names)
  if #names == 0 then return end
  local found = kind(data)
  if found ~= old.mode and found ~= 'none' then call('DEL', data) end
  local there = found == old.mode
  -- Others may have given a hash another expiry since: theirs stays.
  local timed = old.mode == 'string' or (tonumber(old.ttl) > 0 and expiry_of(data) == old.expiry)
  -- First the expiry: a step that is refused half-way must not leave the old value with the new expiry.
  if there and timed then set_expiry(before) end
  -- What stood here before has expired since.
  if there and kind(data) == 'none' then return end
  for _, name in ipairs(names) do set_value(before, name) end
  if not there and kind(data) ~= 'none' then set_expiry(before) end
end

-- Fields beside ours that are not as they were.
local function changed_beside(written)
  local were, are, names = old.others, others_of(old.mode, written), {}
  if not has(were) or are == '' then return names end
  were, are = cjson.decode(were), cjson.decode(are)
  for name, value in pairs(were) do if are[name] ~= value then names[#names + 1] = name end end
  for name in pairs(are) do if were[name] == nil then names[#names + 1] = name end end
  table.sort(names)
  return names
end

-- For digests only, and only where it fits into an answer.
local function shown(map)
  local size = 0
  for name, value in pairs(map) do size = size + #name + #(value or '') end
  local text = size <= 24576 and cjson.encode(map) or ''
  return #text <= 24576 and text or ''
end
`;

/**
 * → restored BEFORE NOW KEPT… | nothing | again | drift BEFORE NOW KEYS… | conflict | damaged | foreign TENANT | fenced SEEN |
 * diverged SEEN. BEFORE and NOW: our names and their values as JSON, empty where they are long or nothing drifted.
 */
export const RESTORE = script(
  `
local no = refused()
if no then return no end
claim()
if old.undo == ask.undo then return {'again'} end
if old.opId ~= ask.undoes then
  -- Data of ours, or a stage that completed, without its record: what was before is not known any more.
  local bare = not has(old.opId) and not has(old.undo)
  if ask.settled or (bare and ours_stands()) then return {'conflict'} end
  put(record, {undo = ask.undo})
  return {'nothing'}
end
local written, before = cjson.decode(old.written), cjson.decode(old.before)
local names, drifted, back = names_of(written), {}, {}
local now, gone = now_of(old.mode, names), lapsed()
for _, name in ipairs(names) do
  local was = before.values[name] or false
  if gone or now[name] == written[name] then back[#back + 1] = name
  elseif now[name] ~= was then drifted[#drifted + 1] = name end
end
local report = {#drifted > 0 and shown(before.values) or '', #drifted > 0 and shown(now) or ''}
if #drifted > 0 and ask.onDrift == 'Hold' then return {'drift', report[1], report[2], unpack(drifted)} end
local kept = ask.onDrift == 'Keep' and drifted or {}
if ask.onDrift == 'Overwrite' then for _, name in ipairs(drifted) do back[#back + 1] = name end end
for _, name in ipairs(changed_beside(written)) do kept[#kept + 1] = name end
restore(before, back)
local left = has(old.replaced) and cjson.decode(old.replaced) or {}
left.tenant, left.fence, left.last, left.undo = ask.tenant, ask.fence, ask.opId, ask.undo
call('DEL', record)
put(record, left)
return {'restored', report[1], report[2], unpack(kept)}
`,
  OTHERS + RESTORING,
);

/** The undo's own publication. → published | again | damaged | foreign TENANT | fenced SEEN | diverged SEEN | type FOUND */
export const PUBLISH = script(`
local no = refused() or (KEYS[3] and wrong_type(KEYS[3], 'stream'))
if no then return no end
claim()
if old.published == ask.opId then return {'again'} end
publish()
put(record, {published = ask.opId})
return {'published'}
`);

/**
 * Changes nothing. → damaged | foreign TENANT | none DATA | record DATA OPID UNDO PUBLISHED FENCE PENDING. DATA: `ours`, `other` than
 * what was asked about, or of another `type`.
 */
export const WHOSE = script(`
local no = refused()
if no and (no[1] == 'damaged' or no[1] == 'foreign') then return no end
local found = 'other'
if ours_stands() or (old.opId == ask.opId and lapsed()) then found = 'ours'
elseif wrong_type(data, ask.mode) then found = 'type' end
if held == 'none' then return {'none', found} end
return {'record', found, short(old.opId), short(old.undo), short(old.published), old.fence, old.pending or ''}
`);
