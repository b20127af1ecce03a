-- Notes that a registry wants no requests for a while.
-- KEYS[1]  as in budget.lua; strikes and struck: how often in a row it did not say for how long, and when last
-- ARGV     class or nothing for all, microseconds or 0 where the registry did not say
-- Returns  until when, in microseconds
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local field, span = 'b:' .. ARGV[1], tonumber(ARGV[2])
local function text(x) return string.format('%.0f', x) end
if span <= 0 then
  local h = redis.call('HMGET', KEYS[1], 'strikes', 'struck')
  local strikes, struck = tonumber(h[1] or '') or 0, tonumber(h[2] or '') or 0
  if now - struck > 1800000000 then strikes = 0 end
  -- Requests that were under way together are refused together: that counts once.
  if now - struck > 2000000 or strikes == 0 then strikes = math.min(strikes + 1, 8) end
  redis.call('HSET', KEYS[1], 'strikes', strikes, 'struck', text(now))
  span = math.min(5000000 * 2 ^ (strikes - 1), 900000000)
end
local untilTime = math.max(now + span, tonumber(redis.call('HGET', KEYS[1], field) or '') or 0)
redis.call('HSET', KEYS[1], field, text(untilTime))
local life = math.max(untilTime - now, 1800000000)
if redis.call('PTTL', KEYS[1]) * 1000 < life then redis.call('PEXPIRE', KEYS[1], text(math.ceil(life / 1000) + 1000)) end
return untilTime
