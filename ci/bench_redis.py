"""What Python programs do on Redis, one call at a time: `ci/bench_redis.sh` runs it. argv: the server's address."""

import sys
import time

import limits
import redis

ADDRESS = sys.argv[1]
CALLS = 4_000
# A token bucket as tutorials have it: two fields of a hash, in floating point, by the client's clock, kept for an hour.
SCRIPT = """
local key, rate, size, now = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local state = redis.call('HMGET', key, 'level', 'seen')
local level, seen = tonumber(state[1]) or size, tonumber(state[2]) or now
level = math.min(size, level + math.max(0, now - seen) * rate)
local allowed = 0
if level >= 1 then level, allowed = level - 1, 1 end
redis.call('HSET', key, 'level', level, 'seen', now)
redis.call('EXPIRE', key, 3600)
return allowed
"""


def measure(what, call):
    best = 0.0
    for _ in range(3):
        begun = time.perf_counter()
        for _ in range(CALLS):
            assert call(), "all of them fit"
        best = max(best, CALLS / (time.perf_counter() - begun))
    print(f"  {what} {best:.0f}")


client = redis.Redis.from_url(ADDRESS)
print("a second, one at a time, best of 3, in Python:")
measure("PING", client.ping)
# As tutorials do: the whole script each time.
measure("a tutorial's script by EVAL", lambda: client.eval(SCRIPT, 1, "bench:py", 1_000_000, 1_000_000, time.time()) == 1)
storage = limits.storage.storage_from_string(ADDRESS)
rate = limits.parse("1000000/second")
fixed = limits.strategies.FixedWindowRateLimiter(storage)
measure("Flask-Limiter's storage, fixed-window", lambda: fixed.hit(rate, "fixed"))
sliding = limits.strategies.SlidingWindowCounterRateLimiter(storage)
measure("Flask-Limiter's storage, sliding-window-counter", lambda: sliding.hit(rate, "sliding"))
# A list of all that was admitted, so a shorter one.
few = limits.parse("20000/day")
moving = limits.strategies.MovingWindowRateLimiter(storage)
measure("Flask-Limiter's storage, moving-window", lambda: moving.hit(few, "moving"))
