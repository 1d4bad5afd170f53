-- Takes the lease where nobody holds it, or a stand-in does and one is able oneself; or holds it for longer where it is
-- one's own.
-- KEYS: the lease. ARGV: who asks, for how many milliseconds, whether able (1) or as a stand-in (0). Answers who holds it.
local stand_in = ':stands-in'
local able = ARGV[3] == '1'
local holder = redis.call('GET', KEYS[1])
local free = not holder or able and string.sub(holder, -#stand_in) == stand_in
if not free and holder ~= ARGV[1] and holder ~= ARGV[1] .. stand_in then return holder end
redis.call('SET', KEYS[1], able and ARGV[1] or ARGV[1] .. stand_in, 'PX', ARGV[2])
return ARGV[1]
