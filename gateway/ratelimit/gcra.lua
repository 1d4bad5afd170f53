-- Decides one charge against every bound of a caller at once, on Redis's own clock: all of them take it, or none does.
--
-- The arithmetic of the rates is that of gcra.py, operation for operation. A negative cost gives back.
--
-- KEYS  one per rate, then the day's counter where it is bounded, then the set of those in flight where a place is asked
--       for; all in one hash slot
-- ARGV  1: the ids of the places, between spaces
--       2: the milliseconds that a place lasts
--       3: numbers between spaces: cost, units a day (-1: no bound), places in flight (-1: none asked for), then for each
--       rate its interval (microseconds a unit) and its burst (units)
-- Answers whole numbers between spaces: now, allowed (1 or 0), wait (-1: never), which bound asks for that wait (0:
-- none), then for each bound what remains and when it is whole again; times in microseconds. Text both ways because
-- clients pay by the item.

local DAY = 86400000000
local RETRY_PLACE = 1000000
local SLACK = 0.001
local LONGEST_PLACE = 600000

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local leases, lease_ms, numbers = {}, tonumber(ARGV[2]), {}
for lease in string.gmatch(ARGV[1], '%S+') do leases[#leases + 1] = lease end
for number in string.gmatch(ARGV[3], '%S+') do numbers[#numbers + 1] = tonumber(number) end
local cost, daily, cap, rates = numbers[1], numbers[2], numbers[3], (#numbers - 3) / 2
local allowed, wait, which = 1, 0, 0
local answer = {}

local function refuse(bound, delay)
  allowed = 0
  if wait >= 0 and (delay < 0 or delay > wait) then wait, which = delay, bound end
end

local function say(...)
  for i = 1, select('#', ...) do answer[#answer + 1] = string.format('%.0f', (select(i, ...))) end
end

-- What is not a string counts as absent; the next write takes its place.
local function read(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value or nil
end

local function write(key, tat)
  if tat > now then
    redis.call('SET', key, string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
  else
    redis.call('DEL', key)
  end
end

-- Rates: `tat` is when the bucket is full again.
local before, after, present = {}, {}, {}
for i = 1, rates do
  local interval, burst = numbers[2 + 2 * i], numbers[3 + 2 * i]
  local top = math.floor(now + burst * interval + 0.5)
  local stored = read(KEYS[i])
  local tat = tonumber(stored) or now
  if not (tat >= now) then tat = now end
  if tat > top then
    tat = top
    write(KEYS[i], tat) -- heals a time that cannot be, also where the charge is refused: else it would stay for ever
  end
  before[i], after[i], present[i] = tat, math.max(now, math.floor(tat + cost * interval + 0.5)), stored
  if cost > burst then
    refuse(i, -1)
  elseif after[i] - top > interval * SLACK then
    refuse(i, after[i] - top)
  end
end

-- The day: "day number:units".
local day, used = math.floor(now / DAY), 0
local midnight = (day + 1) * DAY - now
if daily >= 0 then
  local stored_day, units = string.match(read(KEYS[rates + 1]) or '', '^(%d+):(%d+)$')
  if tonumber(stored_day) == day then used = math.min(tonumber(units), daily) end
  if cost > daily then
    refuse(rates + 1, -1)
  elseif used + cost > daily then
    refuse(rates + 1, midnight)
  end
end

-- In flight: a sorted set of lease ids by the millisecond at which they end, so a dead worker's places come back. Each
-- lasts as long as the gateway that took it wants, which may be another time than here. No place lasts longer than the
-- longest that the settings allow, so what seems to was left by a clock that has since stepped back.
local now_ms, taken = math.floor(now / 1000), 0
local flight, bounds = KEYS[#KEYS], rates + (daily >= 0 and 1 or 0)
if cap >= 0 then
  if type(redis.pcall('ZREMRANGEBYSCORE', flight, '-inf', now_ms)) == 'table' then redis.call('DEL', flight) end
  redis.call('ZREMRANGEBYSCORE', flight, now_ms + LONGEST_PLACE + 1, '+inf')
  taken = redis.call('ZCARD', flight)
  if taken + #leases > cap then refuse(bounds + 1, RETRY_PLACE) end
end

if allowed == 1 then
  for i = 1, rates do
    if after[i] > now or present[i] then write(KEYS[i], after[i]) end
  end
  if daily >= 0 and cost ~= 0 then
    used = math.max(0, used + cost)
    redis.call('SET', KEYS[rates + 1], string.format('%.0f:%.0f', day, used), 'PX', math.ceil(midnight / 1000) + 1)
  end
  if cap >= 0 then
    for i = 1, #leases do redis.call('ZADD', flight, now_ms + lease_ms, leases[i]) end
    redis.call('PEXPIRE', flight, LONGEST_PLACE + 1000)
    taken = taken + #leases
  end
end

say(now, allowed, wait, which)
for i = 1, rates do
  local interval, burst = numbers[2 + 2 * i], numbers[3 + 2 * i]
  local top = math.floor(now + burst * interval + 0.5)
  local tat = allowed == 1 and after[i] or before[i]
  say(math.max(0, math.min(burst, math.floor((top - tat) / interval + SLACK))), tat - now)
end
if daily >= 0 then say(daily - used, midnight) end
if cap >= 0 then say(math.max(0, cap - taken), 0) end

return table.concat(answer, ' ')
