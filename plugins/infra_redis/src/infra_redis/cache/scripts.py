"""What the server does for the cache in one step."""

from __future__ import annotations

from typing import Final

from infra_redis.scripting import Script

#: KEYS: the counter. ARGV: by, TTL. The sum as text: a Lua number holds 53 bits.
INCR: Final = Script("""
local new = redis.call('EXISTS', KEYS[1]) == 0
redis.call('INCRBY', KEYS[1], ARGV[1])
if new then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('GET', KEYS[1])
""")

#: KEYS: the entry. ARGV: the bytes expected, the bytes to write, TTL or an empty string.
CAS: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
""")

#: KEYS: the lock, the fencing number given last. ARGV: token, TTL. The number is at least the clock's microseconds: it grows even when
#: the one given last was evicted or flushed.
LOCK_ACQUIRE: Final = Script("""
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end
local time = redis.call('TIME')
local fence = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('GET', KEYS[2]) or 0) + 1)
fence = string.format('%.0f', fence)
redis.call('SET', KEYS[2], fence)
return fence
""")

#: KEYS: the lock. ARGV: token, TTL.
LOCK_EXTEND: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")

#: KEYS: the lock. ARGV: token.
LOCK_RELEASE: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
""")

#: KEYS: the arrival time. ARGV: interval in ms, burst, cost. Stores what `infra.cache.gcra.decide` says to; gives what it decided on: the
#: arrival time that it found, and the clock.
GCRA: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local stored = tonumber(redis.call('GET', KEYS[1]) or nil)
local interval, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local arrival = math.max(stored or now, now) + cost * interval
if cost > 0 and arrival - now - burst * interval <= 1e-6 then
    redis.call('SET', KEYS[1], string.format('%.17g', arrival), 'PX', string.format('%.0f', math.max(1, math.ceil(arrival - now))))
end
return {stored and string.format('%.17g', stored) or false, string.format('%.17g', now)}
""")
