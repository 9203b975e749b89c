"""Reflex bug: an event with its state in Redis takes three times the CPU time of one with its state on disk.

Reflex takes a tab's lock, reads its state, writes it and gives the lock back, each with a separate command, and creates
the state from what it has read. Here Redis does the first two at once, and the last two, and a part of a state that is
in Redis as this worker wrote it is used again. An event that finds the tab locked goes Reflex's way. Seen in Reflex
0.10.
"""

import asyncio
import logging
import os
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

import reflex as rx
from hiredis import pack_command
from reflex.istate import data as reflex_data
from reflex.istate.manager.redis import StateManagerRedis
from reflex.istate.manager.token import BaseStateToken, StateToken
from reflex.state import BaseState
from reflex.utils.exceptions import StateSchemaMismatchError
from reflex_base.registry import RegistrationContext

from ..redis_locks import COMMAND_FAILS, UNLOCK, give_back_later, give_up

LOCK_AND_READ = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return false end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
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
KEPT = 2000
"""How many parts of states a worker keeps."""
REFLEXS_OWN = {each for each in vars(reflex_data).values() if getattr(each, "__module__", "") == reflex_data.__name__}
"""What Reflex has of a visitor in the root of a state; it never changes these objects."""
PLAIN = {bool, bytes, float, int, str, type(None)} | REFLEXS_OWN
"""A part with nothing but these is kept. Two parts may share a list, which Redis would have for each."""
PRIVATE = ["_coerce_token", "_get_required_state_classes", "_lock_key", "_n_lock_waiters", "_notify_next_waiter"]
"""Undocumented names of Reflex that this uses."""

logger = logging.getLogger(__name__)


def apply(app: rx.App) -> None:
    """Let Redis do more at once, unless Reflex keeps locks beyond an event (`REFLEX_OPLOCK_ENABLED`)."""
    states = app.state_manager
    if isinstance(states, StateManagerRedis) and not states._oplock_enabled:
        RoundTrips(states)


class Part(NamedTuple):
    """A class of a state, and where its objects are in the state."""

    state: type[BaseState]
    parent: int
    """The place of its parent in the list of parts; -1 for the root."""
    name: str
    """Its name among the substates of its parent."""


class RoundTrips:
    """Replaces how an event gets the state of its tab."""

    def __init__(self, states: StateManagerRedis) -> None:
        """Replace `modify_state` of `states`."""
        for name in PRIVATE:
            getattr(states, name)
        self.empty = BaseState._init_bookkeeping
        self.states, self.reflexs_way = states, states.modify_state
        self.parts: dict[tuple[type, int], list[Part]] = {}
        """Which parts an event of a class reads; by the number of all parts too, which may grow."""
        self.kept: dict[bytes, BaseState] = {}
        """Parts of states by what is in Redis of them, the oldest first."""
        states.modify_state = self.modify_state

    def modify_state(self, token: StateToken, **context: object) -> AbstractAsyncContextManager[BaseState]:
        """Lock and read a state, and write it and unlock it at the end, as Reflex does."""
        token = self.states._coerce_token(token)
        if isinstance(token, BaseStateToken):
            return Turn(self, token, context)
        return self.reflexs_way(token, **context)

    def parts_of(self, requested: type[BaseState]) -> list[Part]:
        """List the parts of a state that Reflex reads for a class, each one after its parent."""
        key = requested, len(RegistrationContext.get().base_states)
        if key not in self.parts:
            found = self.states._get_required_state_classes(requested, subclasses=True)
            places = {part: place for place, part in enumerate(sorted(found, key=lambda part: part.get_full_name()))}
            self.parts[key] = [Part(part, places.get(part.get_parent_state(), -1), part.get_name()) for part in places]
        return self.parts[key]

    def create(self, part: type[BaseState], data: bytes | None) -> BaseState:
        """Give a part of a state for what is in Redis of it, or a new one."""
        if data is not None:
            known = self.kept.pop(data, None)
            if known is not None:
                return known
            try:
                return BaseState._deserialize(data=data)
            except StateSchemaMismatchError:  # as an older version of the app wrote it
                pass
        return part(init_substates=False, _reflex_internal_init=True)

    def keep(self, part: BaseState, data: bytes) -> None:
        """Keep a copy of a part of a state, whose bytes are in Redis, for the next event of its tab."""
        if part._was_touched or part.dirty_vars:  # since it was written
            return
        values = vars(part)
        for name, value in values.items():
            if type(value) not in PLAIN and name != "router_data":
                return
        # Without the rest of the state, which its event may still read.
        copy = self.kept[data] = object.__new__(type(part))
        self.empty(copy)
        vars(copy).update(values)
        if len(self.kept) > KEPT:
            del self.kept[next(iter(self.kept))]

    async def ask(self, *command: bytes | str | int) -> object:
        """Send a command in half of the CPU time of redis-py's client; if that fails, the client sends it again.

        Raises:
            RedisError, OSError: If Redis does not answer.
        """
        pool = self.states.redis.connection_pool
        connection = await pool.get_connection()
        try:
            connection._writer.write(pack_command(command))
            return await connection.read_response()
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if not isinstance(error, COMMAND_FAILS):
                raise
        finally:
            await pool.release(connection)
        return await self.states.redis.execute_command(*command)


class Turn:
    """An event's turn with the state of its tab."""

    def __init__(self, trips: RoundTrips, token: BaseStateToken, context: dict[str, object]) -> None:
        """Prepare it; `context` is what Reflex says of the event."""
        self.trips, self.token, self.context = trips, token, context
        self.lock: bytes = trips.states._lock_key(token)
        self.owner = os.urandom(8).hex().encode()
        self.reflexs_way: AbstractAsyncContextManager[BaseState] | None = None
        self.parts: list[BaseState] = []
        self.read: list[bytes | None] = []
        """What is in Redis of each of the parts."""

    async def __aenter__(self) -> BaseState:
        """Lock the state, read it and give its root.

        Raises:
            RedisError, OSError: If Redis does not answer.
        """
        trips = self.trips
        parts = trips.parts_of(self.token.cls)
        if trips.states._n_lock_waiters(self.lock) or not await self.take(parts):
            self.reflexs_way = trips.reflexs_way(self.token, **self.context)
            return await self.reflexs_way.__aenter__()
        try:
            for part, data in zip(parts, self.read, strict=True):
                state = trips.create(part.state, data)
                self.parts.append(state)
                if part.parent >= 0:
                    state.parent_state = self.parts[part.parent]
                    state.parent_state.substates[part.name] = state
        except BaseException:
            give_back_later(trips.states.redis, self.lock, self.owner)
            raise
        return self.parts[0]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool | None:
        """Write the state, unless the event failed, and unlock it.

        Raises:
            LockExpiredError: If the event took longer than a lock lasts.
            RedisError, OSError: If Redis does not answer.
        """
        if self.reflexs_way:
            return await self.reflexs_way.__aexit__(kind, error, trace)
        try:
            if error is None:
                await self.write()
            else:
                await self.trips.ask("EVAL", UNLOCK, 1, self.lock, self.owner)
        except BaseException:
            give_back_later(self.trips.states.redis, self.lock, self.owner)
            raise
        finally:
            self.trips.states._notify_next_waiter(self.lock)
        return None

    async def take(self, parts: list[Part]) -> bool:
        """Request the lock, and read the state with it.

        Raises:
            RedisError, OSError: If Redis does not answer.
        """
        states = self.trips.states
        keys = [self.lock, *(self.token._state_key(part.state) for part in parts)]
        try:
            read = await self.trips.ask("EVAL", LOCK_AND_READ, len(keys), *keys, self.owner, states.lock_expiration)
        except (*COMMAND_FAILS, asyncio.CancelledError) as error:
            give_up(states.redis, self.lock, self.owner, error)
            raise
        self.read = read or []
        return read is not None

    async def write(self) -> None:
        """Write what has changed, and give the lock back.

        Raises:
            LockExpiredError: If the event took longer than a lock lasts: nothing is written.
            RedisError, OSError: If Redis does not answer.
        """
        trips, states = self.trips, self.trips.states
        stored = dict(zip(map(id, self.parts), self.read, strict=True))
        keys, values = [], []
        stack = [self.parts[0]]
        while stack:
            part = stack.pop()
            stack.extend(part.substates.values())
            if part._was_touched and (data := part._serialize()):
                part._was_touched = False
                stored[id(part)] = data
                keys.append(self.token._state_key(type(part)))
                values.append(data)
        arguments = [self.owner, states.token_expiration, *values]
        left = await trips.ask("EVAL", WRITE_AND_UNLOCK, 1 + len(keys), self.lock, *keys, *arguments)
        if left is None:
            # The lock has expired, or the command had to be sent twice and the first time was enough.
            if keys and await states.redis.mget(keys) != values:
                await states.set_state(self.token, self.parts[0], lock_id=self.owner, **self.context)  # it explains
        elif states.lock_expiration - left > states.lock_warning_threshold:
            seconds = (states.lock_expiration - left) / 1000
            logger.warning("an event had the lock of its tab for %.1f s: see rx.event(background=True)", seconds)
        for part in self.parts:
            if data := stored[id(part)]:
                trips.keep(part, data)
