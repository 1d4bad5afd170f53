-- Gives the lease back where it is one's own, as a stand-in's too (hold.lua). KEYS: the lease. ARGV: who asks. Answers how
-- many were given back.
local holder = redis.call('GET', KEYS[1])
if holder ~= ARGV[1] and holder ~= ARGV[1] .. ':stands-in' then return 0 end
return redis.call('DEL', KEYS[1])
