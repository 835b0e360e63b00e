-- Sets a bucket to what it was before a debit, if it still is what the debit left; with `*` in the place of that, makes any key
-- full. KEYS[1]; ARGV: the text that was left, then of before: us, f, mark, quota, surplus. {1 | 0, now}
if ARGV[1] == '*' then
  redis.call('DEL', KEYS[1])
  return {1, now}
end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {0, now} end
put(KEYS[1], ARGV[2] + 0, ARGV[3] + 0, ARGV[4], ARGV[5], ARGV[6])
return {1, now}
