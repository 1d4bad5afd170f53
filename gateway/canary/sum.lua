-- The newest buckets of one model, on Redis's clock, as one JSON array: the second that is running, then second,
-- [field, count and so on], next second; oldest first, those without counts left out.
-- KEYS: the model's prefix; the buckets' names need the clock and share its hash tag. ARGV: how many seconds.
local now = tonumber(redis.call('TIME')[1])
local found = {now}
for second = now - tonumber(ARGV[1]) + 1, now do
  local fields = redis.call('HGETALL', KEYS[1] .. string.format('%d', second))
  if #fields > 0 then
    found[#found + 1] = second
    found[#found + 1] = fields
  end
end
return cjson.encode(found)
