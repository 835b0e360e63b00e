-- A node that is there. KEYS[1]; ARGV: its number, how long a node counts after it has said so. How many there are.
local span = ARGV[2] + 0
redis.call('ZADD', KEYS[1], F(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. F(now - span))
-- Of a clock that has stepped back.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. F(now + span), '+inf')
redis.call('PEXPIRE', KEYS[1], F(math.ceil(span / 1000)))
return redis.call('ZCARD', KEYS[1])
