-- Notes until when each name is denied, never for a shorter time than it was, and forgets those whose time has been over
-- by Redis's own clock for so long that it is over by every worker's: or one of them took it for lost, and wrote it back.
-- KEYS: the sorted set. ARGV: seconds that two clocks may differ; then moment (seconds since the epoch), name and so on.
for i = 2, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 'GT', ARGV[i], ARGV[i + 1])
end
return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1] - ARGV[1])
