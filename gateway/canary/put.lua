-- Puts one route in place of the expected generation, remembers what stood there, writes the change into the log and
-- tells the workers.
-- KEYS: the hash of routes, the marks of its last changes, the hash of what stood before, the log.
-- ARGV: channel, the mark of this change (and epoch of a store that has none), model, expected generation (0: none yet),
-- document ('': no route any more), actor, action, reason, how long the log may get.
-- Answers 1 and the new generation, or 0 and the one that stands.
local routes, marks, previous, log = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local channel, mark, model, expected, after = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local stored = redis.call('HGET', routes, model) or ''
local generation, before = string.match(stored, '^(%d+) (.*)$')
generation, before = tonumber(generation or 0), before or stored
if generation ~= expected then return {0, generation} end

local new = string.format('%d', generation + 1)
redis.call('HSET', routes, model, new .. ' ' .. after)
redis.call('HSET', previous, model, stored)
redis.call('XADD', log, 'MAXLEN', '~', ARGV[9], '*', 'model', model, 'generation', new,
  'actor', ARGV[6], 'action', ARGV[7], 'reason', ARGV[8], 'before', before, 'after', after)
redis.call('HSETNX', routes, ':epoch', mark)
local version = redis.call('HINCRBY', routes, ':version', 1)
redis.call('HSET', marks, version % 32, version .. ' ' .. mark)
redis.call('PUBLISH', channel, version)
return {1, generation + 1}
