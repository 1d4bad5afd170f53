-- Takes the lease where nobody holds it, or holds it for longer where it is one's own.
-- KEYS: the lease. ARGV: who asks, for how many milliseconds. Answers who holds it.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return holder end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
