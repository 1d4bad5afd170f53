-- Redis's own clock in milliseconds since the epoch. KEYS: one whose node it is, in a cluster.
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000)
