-- Writes each document whose present text is the expected one ('' stands for absent), all at once, then tells the
-- workers. KEYS: the hash, the marks of its last changes. ARGV: channel, the mark of this change (and epoch of a store that
-- has none), the last moment for it by Redis's own clock in milliseconds since the epoch ('' for any), then id, expected,
-- document and so on. Answers how many were written; -1 where it is too late: whoever asked has been told that it failed.
local now = redis.call('TIME')
if ARGV[3] ~= '' and now[1] * 1000 + now[2] / 1000 > tonumber(ARGV[3]) then
  return -1
end
local written = 0
for i = 4, #ARGV, 3 do
  if (redis.call('HGET', KEYS[1], ARGV[i]) or '') == ARGV[i + 1] then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    written = written + 1
  end
end
if written > 0 then
  redis.call('HSETNX', KEYS[1], ':epoch', ARGV[2])
  local version = redis.call('HINCRBY', KEYS[1], ':version', 1)
  redis.call('HSET', KEYS[2], version % 32, version .. ' ' .. ARGV[2])
  redis.call('PUBLISH', ARGV[1], version)
end
return written
