-- Redis's own clock in milliseconds since the epoch. KEYS: the hash, so that in a cluster it is that of its own node.
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000)
