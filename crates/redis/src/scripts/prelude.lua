-- Every script begins with this. Numbers are whole and below 2^53; nothing that can pass it is ever multiplied here.
-- The clock is read once: Redis 7.0 lets it run on within a script.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
-- A stamp further ahead than any call can leave it, by more than this, was left by a clock that has stepped back since.
local TOLERANCE = 1000000
-- Never tostring() or `..` of a number: both write 14 digits only.
local function F(x) return string.format('%.0f', x) end

-- A bucket is `<us>[:<f>][d|p] <quota>[+<surplus>]`: the instant at which it is full again, in microseconds and f parts of
-- D of one; whether it is past empty by a charge (d) or by a promise (p); the quota that wrote it; the tokens above the
-- burst of that quota which an earlier one had counted.
local function parse(v)
  local u, f, m, q, s = string.match(v, '^(%d+):?(%d*)([dp]?) ([%d/]+)(%+?%d*)$')
  if not u then return nil end
  return u + 0, f == '' and 0 or f + 0, m, q, s
end

local function put(key, u, f, mark, quota, surplus)
  if u < now or (u == now and f == 0) then redis.call('DEL', key) return end
  local text = (f == 0 and F(u) or F(u) .. ':' .. F(f)) .. mark .. ' ' .. quota .. surplus
  -- Up to the next millisecond: a key never goes before its bucket is full.
  redis.call('SET', key, text, 'PXAT', F(math.ceil((f > 0 and u + 1 or u) / 1000)))
end

local function after(u, f, D, cu, cf)
  u, f = u + cu, f + cf
  if f >= D then return u + 1, f - D end
  return u, f
end

local function later(au, af, bu, bf) return au > bu or (au == bu and af > bf) end

-- The bucket as it stands: u, f, mark, surplus, whether that has yet to be written; nil and the text if another quota wrote it.
-- `seen` is a text that the caller has converted, to `conv`.
local function bucket(key, quota, du, df, reach, seen, conv)
  local v, write = redis.call('GET', key), false
  if not v then return now, 0, '', '', false end
  if v == seen then v, write = conv, true end
  local u, f, m, q, s = parse(v)
  if not u or q ~= quota then return nil, v end
  local mu, mf = now + du, df
  if m ~= '' then mu, mf = now + reach, 0 end
  if later(u, f, mu + TOLERANCE, mf) then u, f, write = mu, mf, true end
  if not later(u, f, now, 0) then return now, 0, '', '', write end
  return u, f, m, s, write
end

-- A fixed window on the clock's grid is one number, its end plus its count. The end, the count, whether that has yet to be written.
local function fixed(key, W, L)
  local stop = now - now % W + W
  local s = (redis.call('GET', key) or 0) + 0
  if s >= stop + W then
    -- Of a later window: by less than the tolerance it counts; else the clock stepped back, and this window is full.
    if s < stop + 2 * W and stop - now <= TOLERANCE then stop = stop + W else return stop, L, true end
  end
  return stop, s > stop and s - stop or 0, false
end

-- A window that begins with its first request is `<end>:<count>`.
local function first(key, W, L)
  local e, n = string.match(redis.call('GET', key) or '', '^(%d+):(%d+)$')
  if not e or e + 0 <= now then return now + W, 0, false end
  e, n = e + 0, n + 0
  if e > now + W + TOLERANCE then return now + W, L, true end
  return e, n, false
end

-- A sliding window counter is `<end of the window>:<count of the one before>:<count>`. End, rest, both counts, both as they
-- weigh under this limit, whether that has yet to be written. 2 * L * W < 2^53.
local function sliding(key, W, L)
  local rest = W - now % W
  local stop = now + rest
  local e, p, q = string.match(redis.call('GET', key) or '', '^(%d+):(%d+):(%d+)$')
  local prev, cur, write = 0, 0, false
  if e then
    e, p, q = e + 0, p + 0, q + 0
    if e == stop then prev, cur = p, q
    elseif e == stop - W then prev = q
    elseif e == stop + W and rest <= TOLERANCE then prev, cur, stop, rest = p, q, e, W
    elseif e > stop then prev, cur, write = 0, L, true end
  end
  return stop, rest, prev, cur, math.min(prev, L), math.min(cur, L), write
end

-- A sliding log is a list of the instants of what it admitted. How many have left it, how many it holds, the first instant that
-- counts as now, whether all of it is of a later time.
local function log(key, W)
  local n = redis.call('LLEN', key)
  if n == 0 then return 0, 0, now, false end
  local last = redis.call('LINDEX', key, -1) + 0
  if last > now + TOLERANCE then return 0, n, now, true end
  local at = math.max(now, last)
  local low, high = 0, n
  if redis.call('LINDEX', key, 0) + W > at then high = 0 end
  while low < high do
    local middle = math.floor((low + high) / 2)
    if redis.call('LINDEX', key, middle) + W > at then high = middle else low = middle + 1 end
  end
  return low, n - low, at, false
end

-- The same instant so many times, at the end of a log.
local function remember(key, at, n, W)
  local many, text = {}, F(at)
  for i = 1, n do many[i] = text end
  if n > 0 then redis.call('RPUSH', key, unpack(many)) end
  redis.call('PEXPIREAT', key, F(math.ceil((at + W) / 1000)))
end

-- A log that a clock left which has stepped back: as many requests, but now.
local function renew(key, n, W)
  redis.call('DEL', key)
  remember(key, now, n, W)
end
