-- Gives the lease back where it is one's own. KEYS: the lease. ARGV: who asks. Answers how many were given back.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
