-- One key, one change that is no yes or no. KEYS[1]; ARGV: the operation, the kind, what both need.
--   upto    takes as much as fits            {1, now, taken (of a bucket: which rungs, as text)}
--   refund  gives back, up to full           {1, now}; of a window or a log only what is of the one that ends at `mine`, or was
--           taken at it, unless that is 0
--   {2, now, {{1, text}}} if another quota wrote the bucket
local key, op, kind = KEYS[1], ARGV[1], ARGV[2]
local at = 3
local function arg() at = at + 1 return ARGV[at - 1] end
local function num() return arg() + 0 end

if kind == 'b' then
  local quota, D, lu, lf, du, df, reach, seen, conv = arg(), num(), num(), num(), num(), num(), num(), arg(), arg()
  local u, f, m, s, repaired = bucket(key, quota, du, df, reach, seen, conv)
  if not u then return {2, now, {{1, f}}} end
  if op == 'refund' then
    local cu, cf = num(), num()
    -- Whoever came next would get an instant that was promised to one who waits.
    if m == 'p' and later(u, f, now + du, df) then return {1, now} end
    u, f = u - cu, f - cf
    if f < 0 then u, f = u - 1, f + D end
    put(key, u, f, later(u, f, now + du, df) and m or '', quota, s)
    return {1, now}
  end
  -- Rungs are so many tokens each, the longest first, and each is at most one more than all after it: so the first fit of
  -- each is the most that fits.
  local picked, any = {}, false
  while at <= #ARGV do
    local pu, pf = after(u, f, D, num(), num())
    local fit = not later(pu, pf, now + lu, lf)
    picked[#picked + 1] = fit and '1' or '0'
    if fit then u, f, any = pu, pf, true end
  end
  if any then
    local mark = ''
    if later(u, f, now + du, df) then mark = m == 'p' and 'p' or 'd' end
    put(key, u, f, mark, quota, s)
  elseif repaired then
    put(key, u, f, m, quota, s)
  end
  return {1, now, table.concat(picked)}
end

local W, L, c, mine = num(), num(), num(), num()
if kind == 'w' or kind == 'h' then
  local stop, n, repaired = (kind == 'w' and fixed or first)(key, W, L)
  local before = n
  if op == 'refund' and mine ~= 0 and mine ~= stop then return {1, now} end
  if op == 'refund' then n = math.max(n - c, 0) else n = n + math.max(math.min(c, L - n), 0) end
  if n ~= before or repaired then
    if n == 0 then redis.call('DEL', key)
    else redis.call('SET', key, kind == 'w' and F(stop + n) or F(stop) .. ':' .. F(n), 'PXAT', F(math.ceil(stop / 1000))) end
  end
  return {1, now, F(math.max(n - before, 0))}
elseif kind == 's' then
  local stop, rest, prev, cur, p, q, repaired = sliding(key, W, L)
  local taken = 0
  if op == 'refund' then
    local of_this, of_last = math.min(c, cur), math.max(c - cur, 0)
    if mine ~= 0 then of_this, of_last = mine == stop and c or 0, mine == stop - W and c or 0 end
    cur, prev, repaired = math.max(cur - of_this, 0), math.max(prev - of_last, 0), true
  else
    -- A charge fills the window whatever the one before weighs.
    local weighed = p * rest
    local room = L - (op == 'charge' and 0 or (weighed - weighed % W) / W + (weighed % W > 0 and 1 or 0)) - q
    taken = math.max(math.min(c, room), 0)
    cur = cur + taken
  end
  if taken > 0 or repaired then
    if cur == 0 and prev == 0 then redis.call('DEL', key)
    else redis.call('SET', key, F(stop) .. ':' .. F(prev) .. ':' .. F(cur), 'PXAT', F(math.ceil((stop + (cur > 0 and W or 0)) / 1000))) end
  end
  return {1, now, F(taken)}
end
local gone, n, when, repaired = log(key, W)
if op == 'refund' then
  if repaired then renew(key, n, W) end
  if mine ~= 0 then
    redis.call('LREM', key, -c, F(mine))
    local last = redis.call('LINDEX', key, -1)
    if last then redis.call('PEXPIREAT', key, F(math.ceil((last + W) / 1000))) end
    return {1, now}
  end
  -- The last in are the first out, so that the others leave when they would have.
  if c >= n then redis.call('DEL', key)
  else
    redis.call('LTRIM', key, repaired and 0 or gone, -1 - c)
    redis.call('PEXPIREAT', key, F(math.ceil((redis.call('LINDEX', key, -1) + W) / 1000)))
  end
  return {1, now}
end
local taken = math.max(math.min(c, L - n), 0)
if taken > 0 then
  if repaired then renew(key, n, W) elseif gone > 0 then redis.call('LTRIM', key, gone, -1) end
  remember(key, when, taken, W)
elseif repaired then
  renew(key, n, W)
end
return {1, now, F(taken)}
