-- One request, and a stretch of the server's time paid in advance. KEYS[1]; ARGV: kind, what `check` is told of such a limit, then
-- the rungs on offer: of a bucket lengths (us, f), of a window counts, the longest first. Takes the longest of which twice fits
-- into what the request leaves, so that many nodes share what is scarce.
-- Bucket: {1 | 0, now, rung or 0, from us, f, to us, f}; window: {1 | 0, now, rung or 0, count, end}; {2, now, {{1, text}}}.
local key, kind, at = KEYS[1], ARGV[1], 2
local function arg() at = at + 1 return ARGV[at - 1] end
local function num() return arg() + 0 end

if kind == 'b' then
  local quota, D, cu, cf = arg(), num(), num(), num()
  at = at + 2
  local du, df, reach, seen, conv = num(), num(), num(), arg(), arg()
  local u, f, m, s, repaired = bucket(key, quota, du, df, reach, seen, conv)
  if not u then return {2, now, {{1, f}}} end
  local pu, pf = after(u, f, D, cu, cf)
  if later(pu, pf, now + du, df) then
    if repaired then put(key, u, f, m, quota, s) end
    return {0, now, 0, u, f, u, f}
  end
  local ru, rf = now + du - pu, df - pf
  if rf < 0 then ru, rf = ru - 1, rf + D end
  local rung, i = 0, 0
  while at <= #ARGV do
    local xu, xf = num(), num()
    local wu, wf = after(xu, xf, D, xu, xf)
    i = i + 1
    if not later(wu, wf, ru, rf) then
      pu, pf = after(pu, pf, D, xu, xf)
      rung = i
      break
    end
  end
  put(key, pu, pf, '', quota, s)
  return {1, now, rung, u, f, pu, pf}
end

local W, L, c = num(), num(), num()
at = at + 1
local stop, n, repaired = (kind == 'w' and fixed or first)(key, W, L)
local function set(count)
  redis.call('SET', key, kind == 'w' and F(stop + count) or F(stop) .. ':' .. F(count), 'PXAT', F(math.ceil(stop / 1000)))
end
if n + c > L then
  if repaired then set(n) end
  return {0, now, 0, n, stop}
end
n = n + c
local rung, i, room = 0, 0, L - n
while at <= #ARGV do
  local x = num()
  i = i + 1
  if 2 * x <= room then rung, n = i, n + x break end
end
set(n)
return {1, now, rung, n, stop}
