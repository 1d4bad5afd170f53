-- Writes routes back that the store has lost: each where an older generation stands, or none. The generations stay as
-- they were.
-- KEYS: the hash of routes, the marks of its last changes, the log.
-- ARGV: channel, the mark of this change (and epoch of a store that has none), actor, reason, how long the log may get,
-- then model, generation, document ('': no route any more) and so on.
-- Answers how many were written.
local routes, marks, log = KEYS[1], KEYS[2], KEYS[3]
local written = 0
for i = 6, #ARGV, 3 do
  local model, generation, after = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local stored = redis.call('HGET', routes, model) or ''
  local standing, before = string.match(stored, '^(%d+) (.*)$')
  if tonumber(standing or 0) < tonumber(generation) then
    redis.call('HSET', routes, model, generation .. ' ' .. after)
    redis.call('XADD', log, 'MAXLEN', '~', ARGV[5], '*', 'model', model, 'generation', generation,
      'actor', ARGV[3], 'action', 'restore', 'reason', ARGV[4], 'before', before or stored, 'after', after)
    written = written + 1
  end
end
if written > 0 then
  redis.call('HSETNX', routes, ':epoch', ARGV[2])
  local version = redis.call('HINCRBY', routes, ':version', 1)
  redis.call('HSET', marks, version % 32, version .. ' ' .. ARGV[2])
  redis.call('PUBLISH', ARGV[1], version)
end
return written
