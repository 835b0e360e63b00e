-- One request under one limit, and tokens in advance for those that come after it: at most half of what the request leaves.
-- KEYS[1]; ARGV as for one limit of `check`, then: what the node saw of the key at a server before this one, 0 and 0 if nothing (of a
-- bucket the stamp, of a window its end and count), which counts if this one knows of less; then: of a bucket spans, the longest first,
-- of which one is taken; of a window a count, of which as much is taken as may be. {1 admitted | 0 refused, now, as `check`, which span | how much; 0 for none};
-- {2, now, {{1, text}}} if another quota wrote the bucket
local key, kind, at = KEYS[1], ARGV[1], 2
local function arg() at = at + 1 return ARGV[at - 1] end
local function num() return arg() + 0 end

if kind == 'b' then
  local quota, D, cu, cf, lu, lf = arg(), num(), num(), num(), num(), num()
  local du, df, reach, seen, conv = num(), num(), num(), arg(), arg()
  local u, f, m, s, repaired = bucket(key, quota, du, df, reach, seen, conv)
  if not u then return {2, now, {{1, f}}} end
  local hu, hf = num(), num()
  if later(hu, hf, now + du, df) then hu, hf = now + du, df end
  if later(hu, hf, u, f) then u, f, m, repaired = hu, hf, '', true end
  local pu, pf = after(u, f, D, cu, cf)
  local fit, picked, n = not later(pu, pf, now + lu, lf) or (cu == 0 and cf == 0), 0, 0
  if not fit then pu, pf = u, f end
  while fit and picked == 0 and at <= #ARGV do
    n = n + 1
    local xu, xf = num(), num()
    local eu, ef = after(pu, pf, D, xu, xf)
    -- So much once more would fit as well.
    local twice, parts = after(eu, ef, D, xu, xf)
    if not later(twice, parts, now + du, df) then pu, pf, picked = eu, ef, n end
  end
  local mark = m
  if pu ~= u or pf ~= f then
    mark = ''
    put(key, pu, pf, mark, quota, s)
  elseif repaired then
    put(key, u, f, m, quota, s)
  end
  return {fit and 1 or 0, now, {fit and 1 or 0, pu, pf, mark, u, f, m, s}, picked}
end

local W, L, c, counted, seen, count, most = num(), num(), num(), arg(), num(), num(), num()
local stop, n, repaired = (kind == 'w' and fixed or first)(key, W, L)
-- A window from its first request that was lost has begun with another one here, or with none.
if kind == 'h' and n == 0 and count > 0 and seen > now and seen <= now + W then stop = seen end
if seen == stop and count > n then n, repaired = math.min(count, L), true end
local fit, ahead = n + c <= L or c == 0, 0
if fit then
  local room = L - n - c
  ahead = math.max(math.min(most, (room - room % 2) / 2), 0)
end
count = fit and n + c + ahead or n
if count ~= n or repaired then
  redis.call('SET', key, kind == 'w' and F(stop + count) or F(stop) .. ':' .. F(count), 'PXAT', F(math.ceil(stop / 1000)))
end
return {fit and 1 or 0, now, {fit and 1 or 0, count, stop}, ahead}
