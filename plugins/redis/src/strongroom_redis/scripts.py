"""Scripts that the server runs in one step. All keys of a script have one hash tag, as clusters need.

A fence is a number that grows with each lock and each drop of a name, also past its own expiry: it is at
least the server's time in microseconds, which a double of Lua holds exactly until the year 2255.

An entry under a key's name that has another type is neither a lock nor a fence: it is dropped.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CONFIRM", "DROP", "LOCK", "SET_FENCED", "UNLOCK"]

_READ: Final = """
local function read(key)
  local found = redis.pcall('GET', key)
  if type(found) == 'table' then
    redis.call('DEL', key)
    return false
  end
  return found
end
"""

_NEXT_FENCE: Final = """
local function next_fence(key, kept)
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local last = tonumber(read(key) or '0') or 0
  if not (last >= 0 and last < 9007199254740992) then
    last = 0
  end
  local fence = string.format('%.0f', math.max(now, last + 1))
  redis.call('SET', key, fence, 'PX', kept)
  return fence
end
"""

LOCK: Final = (
    _READ
    + _NEXT_FENCE
    + """
local holder = read(KEYS[1])
if holder and holder ~= ARGV[1] then
  return false
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return next_fence(KEYS[2], ARGV[3])
"""
)
"""Keys: lock, fence. Arguments: the holder, its milliseconds, those of the fence. Gives the fence or nothing.

The same holder may ask again, where the first answer was lost on its way.
"""

CONFIRM: Final = (
    _READ
    + """
if read(KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
"""
)
"""Key: lock. Arguments: the holder, its milliseconds from now. Gives 1 where it is the holder still."""

UNLOCK: Final = (
    _READ
    + """
if read(KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
"""
)
"""Key: lock. Argument: the holder."""

SET_FENCED: Final = (
    _READ
    + """
if read(KEYS[2]) ~= ARGV[3] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
)
"""Keys: data, fence. Arguments: the data, its milliseconds, the fence. Gives 1 where it is kept."""

DROP: Final = (
    _READ
    + _NEXT_FENCE
    + """
redis.call('DEL', KEYS[1])
next_fence(KEYS[2], ARGV[1])
return redis.call('PUBLISH', ARGV[2], ARGV[3])
"""
)
"""Keys: data, fence. Arguments: milliseconds of the fence, the channel, the name."""
