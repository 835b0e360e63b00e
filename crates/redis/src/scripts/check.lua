-- One request under one or more limits: all of them, or none. Reads all, then writes all.
-- KEYS: one for each limit. ARGV: `take`, `peek` or `reserve`, then for each limit its kind and what that needs.
-- {1 admitted | 0 refused, now, one list for each limit}; {2, now, {index, text} for each} if another quota wrote a bucket.
local mode, at = ARGV[1], 2
local all, out, write, mend, changed = true, {1, now}, {}, {}, {}
local function arg() at = at + 1 return ARGV[at - 1] end
local function num() return arg() + 0 end

for i, key in ipairs(KEYS) do
  local kind = arg()
  local fit, reply, line = false, nil, i + 2
  if kind == 'b' then
    local quota, D, cu, cf, lu, lf = arg(), num(), num(), num(), num(), num()
    local du, df, reach, seen, conv = num(), num(), num(), arg(), arg()
    local u, f, m, s, repaired = bucket(key, quota, du, df, reach, seen, conv)
    if not u then
      changed[#changed + 1] = {i, f}
      reply = {0}
    else
      local pu, pf = after(u, f, D, cu, cf)
      fit = not later(pu, pf, now + lu, lf) or (cu == 0 and cf == 0)
      reply = {fit and 1 or 0, u, f, m, u, f, m, s}
      if repaired then mend[i] = function() put(key, u, f, m, quota, s) end end
      if cu > 0 or cf > 0 then write[i] = function()
        local mark = ''
        if later(pu, pf, now + du, df) then mark = (mode == 'reserve' or m == 'p') and 'p' or 'd' end
        put(key, pu, pf, mark, quota, s)
        reply[2], reply[3], reply[4] = pu, pf, mark
      end end
    end
  elseif kind == 'w' or kind == 'h' then
    local W, L, c, counted = num(), num(), num(), arg() == '1'
    local stop, n, repaired = (kind == 'w' and fixed or first)(key, W, L)
    fit = n + c <= L or c == 0
    reply = {fit and 1 or 0, n, stop}
    local function set(count)
      local text = kind == 'w' and F(stop + count) or F(stop) .. ':' .. F(count)
      redis.call('SET', key, text, 'PXAT', F(math.ceil(stop / 1000)))
      reply[2] = count
    end
    if counted and not fit and mode == 'take' then
      -- A refusal counts as well, up to a number that is above every limit.
      local most = math.max(n, W - 1)
      mend[i] = function() set(math.min(n + c, most)) end
    elseif repaired then
      mend[i] = function() set(n) end
    end
    if c > 0 then write[i] = function() set(n + c) end end
  elseif kind == 's' then
    local W, L, c = num(), num(), num()
    local stop, rest, prev, cur, p, q, repaired = sliding(key, W, L)
    fit = (c <= L and p * rest + (q + c) * W <= L * W) or c == 0
    reply = {fit and 1 or 0, p, q, stop, rest}
    local function set(count)
      redis.call('SET', key, F(stop) .. ':' .. F(prev) .. ':' .. F(count), 'PXAT', F(math.ceil((stop + W) / 1000)))
    end
    if repaired then mend[i] = function() set(cur) end end
    if c > 0 then write[i] = function() set(cur + c) reply[3] = q + c end end
  else
    local W, L, c = num(), num(), num()
    local gone, n, when, repaired = log(key, W)
    fit = n + c <= L or c == 0
    -- The one that must leave before this fits, and the last.
    local wait, last = 0, 0
    if n > 0 then last = repaired and now or redis.call('LINDEX', key, -1) + 0 end
    if not fit and c <= L then wait = repaired and now or redis.call('LINDEX', key, gone + n + c - L - 1) + 0 end
    reply = {fit and 1 or 0, n, wait, last}
    if repaired then mend[i] = function() renew(key, n, W) end end
    if c > 0 then write[i] = function()
      if repaired then renew(key, n, W) elseif gone > 0 then redis.call('LTRIM', key, gone, -1) end
      remember(key, when, c, W)
      reply[2], reply[4] = n + c, when
    end end
  end
  all = all and fit
  out[line] = reply
end

if #changed > 0 then return {2, now, changed} end
if not all then out[1] = 0 end
if mode ~= 'peek' then
  for i = 1, #KEYS do
    local act = all and write[i] or mend[i]
    if act then act() end
  end
end
return out
