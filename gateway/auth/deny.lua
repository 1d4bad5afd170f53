-- Notes until when each name is denied, never for a shorter time than it was, and forgets those whose time is over by
-- Redis's own clock. KEYS: the sorted set. ARGV: moment (seconds since the epoch), name and so on.
for i = 1, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 'GT', ARGV[i], ARGV[i + 1])
end
return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1])
