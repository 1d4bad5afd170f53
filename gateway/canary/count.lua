-- Adds one batch of counts to the bucket of this second on Redis's clock, each batch once however often it is sent.
-- KEYS: what this recorder sent last. The buckets' names need the clock, so they are made here; they share its hash tag.
-- ARGV: prefix of the buckets, number of the batch, how long all of it is kept in ms, then model, field, count and so on.
-- Answers whether the batch was new.
if redis.call('GET', KEYS[1]) == ARGV[2] then return 0 end
local second = redis.call('TIME')[1]
local touched = {}
for i = 4, #ARGV, 3 do
  local bucket = ARGV[1] .. ARGV[i] .. ':' .. second
  redis.call('HINCRBY', bucket, ARGV[i + 1], ARGV[i + 2])
  touched[bucket] = true
end
for bucket in pairs(touched) do redis.call('PEXPIRE', bucket, ARGV[3]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
