-- One request under several limits that may wait for them: all, or none. It goes at one instant, the first at which all would admit it,
-- and each counts it as of then. Reads all, then writes all.
-- KEYS: one for each limit. ARGV: the longest wait in microseconds, then for each limit as for `check`, and of a bucket how far ahead
-- it may promise. Answers as `check`.
local at, latest = 2, now + ARGV[1]
local all, go, out, parts, changed = true, now, {1, now}, {}, {}
local function arg() at = at + 1 return ARGV[at - 1] end
local function num() return arg() + 0 end

for i, key in ipairs(KEYS) do
  -- When it would fit here, the last instant that may be promised here, what to answer, how to take it as of `go`, what to repair.
  local part = {ready = now, last = now, free = false}
  local kind = arg()
  if kind == 'b' then
    local quota, D, cu, cf, lu, lf = arg(), num(), num(), num(), num(), num()
    local du, df, reach, seen, conv, debt = num(), num(), num(), arg(), arg(), num()
    local u, f, m, s, repaired = bucket(key, quota, du, df, reach, seen, conv)
    if not u then
      changed[#changed + 1] = {i, f}
      part.reply = {0}
    else
      part.free = cu == 0 and cf == 0
      local pu, pf = after(u, f, D, cu, cf)
      local gu, gf = pu - lu, pf - lf
      if gf < 0 then gu, gf = gu - 1, gf + D end
      part.ready, part.last = math.max(gf > 0 and gu + 1 or gu, now), now + debt
      -- A cost above all that fits is told to have no room at all.
      if lu == 0 and lf == 0 then part.last = now - 1 end
      part.reply = {0, u, f, m, u, f, m, s}
      if repaired then part.mend = function() put(key, u, f, m, quota, s) end end
      part.write = function()
        if later(go, 0, u, f) then pu, pf = after(go, 0, D, cu, cf) end
        local mark = later(pu, pf, now + du, df) and 'p' or ''
        put(key, pu, pf, mark, quota, s)
        part.reply[2], part.reply[3], part.reply[4] = pu, pf, mark
      end
    end
  elseif kind == 'w' or kind == 'h' then
    local W, L, c = num(), num(), num()
    arg()
    local stop, n, repaired = (kind == 'w' and fixed or first)(key, W, L)
    local function set(count)
      local text = kind == 'w' and F(stop + count) or F(stop) .. ':' .. F(count)
      redis.call('SET', key, text, 'PXAT', F(math.ceil(stop / 1000)))
      part.reply[2] = count
    end
    part.free, part.last = c == 0, n + c <= L and stop - 1 or now - 1
    part.reply = {0, n, stop}
    if repaired then part.mend = function() set(n) end end
    part.write = function() set(n + c) end
  elseif kind == 's' then
    local W, L, c = num(), num(), num()
    local stop, rest, prev, cur, p, q, repaired = sliding(key, W, L)
    local function set(count)
      redis.call('SET', key, F(stop) .. ':' .. F(prev) .. ':' .. F(count), 'PXAT', F(math.ceil((stop + W) / 1000)))
    end
    part.free, part.last = c == 0, c <= L and p * rest + (q + c) * W <= L * W and stop - 1 or now - 1
    part.reply = {0, p, q, stop, rest}
    if repaired then part.mend = function() set(cur) end end
    part.write = function() set(cur + c) part.reply[3] = q + c end
  else
    local W, L, c = num(), num(), num()
    local gone, n, when, repaired = log(key, W)
    local wait, last = 0, 0
    if n > 0 then last = repaired and now or redis.call('LINDEX', key, -1) + 0 end
    if n + c > L and c <= L then wait = repaired and now or redis.call('LINDEX', key, gone + n + c - L - 1) + 0 end
    part.free, part.last = c == 0, n + c <= L and now or now - 1
    part.reply = {0, n, wait, last}
    if repaired then part.mend = function() renew(key, n, W) end end
    part.write = function()
      if repaired then renew(key, n, W) elseif gone > 0 then redis.call('LTRIM', key, gone, -1) end
      remember(key, when, c, W)
      part.reply[2], part.reply[4] = n + c, when
    end
  end
  if not part.free and part.ready <= math.min(part.last, latest) then go = math.max(go, part.ready) end
  parts[i] = part
  out[i + 2] = part.reply
end

if #changed > 0 then return {2, now, changed} end
for i, part in ipairs(parts) do
  local fit = part.free or (part.ready <= latest and math.max(go, part.ready) <= part.last)
  part.reply[1] = fit and 1 or 0
  all = all and fit
end
if not all then out[1] = 0 end
for i, part in ipairs(parts) do
  if all and not part.free then part.write() elseif part.mend then part.mend() end
end
return out
