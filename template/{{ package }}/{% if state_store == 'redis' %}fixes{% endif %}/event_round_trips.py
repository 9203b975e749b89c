"""Reflex bug: each event asks Redis four times, where two are enough.

Reflex takes a tab's lock, reads its state, writes it and gives the lock back, each with a separate command. Here Redis
does the first two at once, and the last two. It also keeps an event whose lock has expired from giving back the lock of
the next one. Seen in Reflex 0.10.
"""

import contextlib
import contextvars
from collections.abc import AsyncIterator

import reflex as rx
from reflex.istate.manager import redis as reflex_redis
from reflex.istate.manager.redis import StateManagerRedis
from reflex.istate.manager.token import BaseStateToken, StateToken

LOCK_AND_READ = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return false end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if #KEYS == 1 then return {} end
return redis.call('MGET', unpack(KEYS, 2))
"""
"""Keys: a lock and the parts of a state. Arguments: the owner, and the milliseconds after which the lock expires.

An owner may ask again: redis-py does after a connection broke."""
WRITE_AND_UNLOCK = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
for i = 2, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 1], 'EX', ARGV[2]) end
local left = redis.call('PTTL', KEYS[1])
redis.call('DEL', KEYS[1])
return left
"""
"""Keys as above. Arguments: the owner, the seconds after which the state expires, and its parts."""
UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) return ARGV[1] end return false"


def apply(app: rx.App) -> None:
    """Let Redis do more at once, unless Reflex keeps locks beyond an event (`REFLEX_OPLOCK_ENABLED`)."""
    states = app.state_manager
    if isinstance(states, StateManagerRedis) and not states._oplock_enabled:
        RoundTrips(states)


class Event:
    """What an event has of its tab in Redis."""

    def __init__(self, lock: bytes, parts: list[str]) -> None:
        """Take the keys of the tab's lock and of the parts of its state."""
        self.lock, self.parts = lock, parts
        self.owner: bytes | None = None
        """The lock's value while this event has the lock."""
        self.values: list[bytes | None] | None = None
        """The parts as Redis gave them with the lock, until Reflex asks for them."""


current: contextvars.ContextVar[Event | None] = contextvars.ContextVar("current", default=None)


class RoundTrips:
    """Replaces the four commands of an event; any other use of the client stays as it is."""

    def __init__(self, states: StateManagerRedis) -> None:
        """Replace how `states` locks, reads, writes and unlocks."""
        self.states, redis = states, states.redis
        self.script = reflex_redis._FENCED_SAVE_SCRIPT
        self.classes: dict[type, list[type]] = {}
        """Which parts of the state Reflex reads for a class, in its order."""
        self.lock, self.try_lock = states._lock, states._try_get_lock
        self.read, self.run_script, self.unlock = redis.mget, redis.eval, redis.getdel
        states._lock, states._try_get_lock = self.with_lock, self.lock_and_read
        redis.mget, redis.eval, redis.getdel = self.give_values, self.write_and_unlock, self.unlock_own

    def parts(self, token: StateToken) -> list[str]:
        """List the keys that Reflex is about to read; if they turn out to be others, it reads those itself."""
        if not isinstance(token, BaseStateToken):
            return []
        if token.cls not in self.classes:
            found = self.states._get_required_state_classes(token.cls, subclasses=True)
            self.classes[token.cls] = sorted(found, key=lambda part: part.get_full_name())
        return [token._state_key(part) for part in self.classes[token.cls]]

    @contextlib.asynccontextmanager
    async def with_lock(self, token: StateToken, event_name: str | None = None) -> AsyncIterator[bytes]:
        """Have the lock of a tab, as Reflex does."""
        outer = current.get()
        current.set(Event(self.states._lock_key(token), self.parts(token)))
        try:
            async with self.lock(token, event_name=event_name) as owner:
                yield owner
        finally:
            current.set(outer)

    async def lock_and_read(self, key: bytes, owner: bytes) -> bool:
        """Request a lock, and read the state with it.

        Raises:
            RedisError, OSError: If Redis does not answer.
        """
        event = current.get()
        if not event or event.lock != key:
            return await self.try_lock(key, owner)
        keys = [key, *event.parts]
        values = await self.run_script(LOCK_AND_READ, len(keys), *keys, owner, self.states.lock_expiration)
        if values is None:
            return False
        event.owner, event.values = owner, values
        return True

    async def give_values(self, keys: list[str], *more: str) -> list[bytes | None]:
        """Give what was read with the lock, once, or read.

        Raises:
            RedisError, OSError: If Redis does not answer.
        """
        event = current.get()
        if event and event.values is not None and keys == event.parts:
            values, event.values = event.values, None
            return values
        return await self.read(keys, *more)

    async def write_and_unlock(self, script: str, count: int, *arguments: bytes | str | int) -> object:
        """Run a script; in place of the one that writes a state, one that gives the lock back too.

        Raises:
            RedisError, OSError: If Redis does not answer.
        """
        event = current.get()
        if script is not self.script or not event or (arguments[0], arguments[count]) != (event.lock, event.owner):
            return await self.run_script(script, count, *arguments)
        left = await self.run_script(WRITE_AND_UNLOCK, count, *arguments)
        if left is None:  # the lock has expired, or redis-py had to ask twice and the first time was enough
            keys, values = arguments[1:count], arguments[count + 2 :]
            if keys and await self.read(keys) != list(values):
                return None
            left = self.states.lock_expiration
        event.owner = event.values = None
        return left

    async def unlock_own(self, key: bytes) -> bytes | None:
        """Give a lock back if this event still has it, and return its owner.

        Raises:
            RedisError, OSError: If Redis does not answer.
        """
        event = current.get()
        if not event or event.lock != key:
            return await self.unlock(key)
        owner, event.owner = event.owner, None
        return await self.run_script(UNLOCK, 1, key, owner) if owner else None
