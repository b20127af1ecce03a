-- Takes one request from the budget of a registry host, or says when to come back.
-- KEYS[1]  hash of the host: tat, the time when the bucket is full again; line:<class>, the time up to which those who
--          wait were sent away;
--          b: and b:<class>, until when the registry wants no requests. All in microseconds.
-- ARGV     microseconds per request, burst, longest wait to grant, class
-- Returns  {1, microseconds to wait before the request} or {0, microseconds until to come back}
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local interval, burst, patience = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local h = redis.call('HMGET', KEYS[1], 'tat', 'line:' .. ARGV[4], 'b:', 'b:' .. ARGV[4])
local tat = math.max(tonumber(h[1] or '') or 0, now)
local blocked = math.max(tonumber(h[3] or '') or 0, tonumber(h[4] or '') or 0)
local at = math.max(now, tat + interval - burst * interval)

local function text(x) return string.format('%.0f', x) end
local function keep(untilTime)
  if untilTime > now and redis.call('PTTL', KEYS[1]) * 1000 < untilTime - now then
    redis.call('PEXPIRE', KEYS[1], text(math.ceil((untilTime - now) / 1000) + 1000))
  end
end

if blocked <= now and at - now <= patience then
  redis.call('HSET', KEYS[1], 'tat', text(tat + interval))
  keep(tat + interval)
  return {1, at - now}
end
-- Those who are sent away come back one after the other, at most a quarter of an hour after the first of them could.
local first = math.max(at, blocked)
local line = math.min(math.max(tonumber(h[2] or '') or 0, first) + math.max(interval, 10000), first + 900000000)
redis.call('HSET', KEYS[1], 'line:' .. ARGV[4], text(line))
keep(line)
return {0, line - now}
