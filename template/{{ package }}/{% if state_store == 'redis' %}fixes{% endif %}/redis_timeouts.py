"""Reflex bug: a Redis that stops answering leaves commands waiting for good, and with them their tabs.

Each waiting event also opens a connection, without a limit. redis-py has a pool with a limit (`BlockingConnectionPool`)
and a timeout per command (`socket_timeout`); together they take a fifth of an event's CPU time. Seen in Reflex 0.10.
"""

import asyncio
import collections
import functools
import os
from collections.abc import Awaitable

import reflex as rx
from redis.asyncio import Connection, Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from reflex.istate.manager.redis import StateManagerRedis

CONNECTIONS = int(os.environ.get("REDIS_CONNECTIONS", "32"))
"""How many connections a worker has for states, and as many for its tabs."""
POOL_WAIT_SECONDS = 9
"""How long a command waits for a connection: longer than a thousand tabs reconnect, shorter than a lock lasts."""
ANSWER_SECONDS = 2
"""How long a command, or a new connection, waits for Redis. Then it fails, and the visitor sees an error message."""
POLL_COUNT = 4
"""How often to check within that time whether a command still waits."""
LISTEN_SECONDS = 10
"""How long a listener hears nothing before it sends a ping."""


class Listener(PubSub):
    """A subscription that notices when Redis is gone: a listener waits longer than any command may."""

    async def parse_response(self, block: bool = True, timeout: float = 0):  # noqa: ASYNC109 - as redis-py calls it
        """Wait for a message, without an end if `block`, else `timeout` seconds.

        Raises:
            RedisConnectionError: If Redis does not answer any more.
        """
        if not block:
            return await super().parse_response(block=False, timeout=timeout)
        for wait in (LISTEN_SECONDS, ANSWER_SECONDS):
            if (message := await super().parse_response(block=False, timeout=wait)) is not None:
                return message
            if wait == LISTEN_SECONDS:
                await self.ping()
        await self.connection.disconnect()
        msg = f"a listener has had no answer for {ANSWER_SECONDS} s"
        raise RedisConnectionError(msg)


def apply(app: rx.App) -> None:
    """Limit connections and waiting times of the app's Redis clients."""
    states, namespace = app.state_manager, app.event_namespace
    if namespace and isinstance(states, StateManagerRedis):
        for redis in (states.redis, namespace._token_manager.redis):
            limit(redis)


def limit(redis: Redis) -> None:
    """Limit the connections of a client to `CONNECTIONS`, and the wait for an answer to `ANSWER_SECONDS`."""
    pool = redis.connection_pool
    timeouts = {"socket_timeout": ANSWER_SECONDS, "socket_connect_timeout": ANSWER_SECONDS}
    # A listener keeps its connection, so it gets another pool.
    listeners = type(pool)(pool.connection_class, **pool.connection_kwargs | timeouts)
    redis.pubsub = functools.partial(Listener, listeners)
    LimitedPool(pool)


class LimitedPool:
    """Replaces how a pool hands out connections: so many at once, each for a limited time; other commands wait."""

    def __init__(self, pool) -> None:
        """Replace the methods of `pool`, a `redis.asyncio.ConnectionPool`."""
        self.pool, self.take, self.give_back = pool, pool.get_connection, pool.release
        pool.get_connection, pool.release = self.get_connection, self.release
        pool.connection_kwargs["socket_connect_timeout"] = ANSWER_SECONDS
        for connection in [*pool._available_connections, *pool._in_use_connections]:
            connection.socket_connect_timeout = ANSWER_SECONDS
        self.loop = asyncio.get_running_loop()
        self.polls = 0
        self.waiting: collections.deque[tuple[int, asyncio.Future]] = collections.deque()
        """The commands that wait, each with the number of the poll at which it came."""
        self.called = 0
        """How many waiting commands may go on and have not taken their connection yet."""
        self.seen: dict[Connection, int] = {}
        """How many polls have seen each connection in use."""
        self.poll()

    def poll(self) -> None:
        """Abort what has had no answer for `ANSWER_SECONDS`; a blocked event loop does not count."""
        self.loop.call_later(ANSWER_SECONDS / POLL_COUNT, self.poll)
        self.polls += 1
        self.seen = {connection: self.seen.get(connection, 0) + 1 for connection in self.pool._in_use_connections}
        for connection, polls in self.seen.items():
            if polls >= POLL_COUNT and connection._writer:
                self.abort(connection)
        while self.waiting and self.polls - self.waiting[0][0] > POOL_WAIT_SECONDS / ANSWER_SECONDS * POLL_COUNT:
            turn = self.waiting.popleft()[1]
            if not turn.done():
                msg = f"no connection to Redis was free within {POOL_WAIT_SECONDS} s"
                turn.set_exception(RedisConnectionError(msg))

    def abort(self, connection: Connection) -> None:
        """Let the command on a connection fail now, and close the connection a little later.

        Closing it at once is too early for a command that is about to be written: uvloop raises RuntimeError.
        """
        connection._reader.set_exception(RedisConnectionError(f"Redis has not answered for {ANSWER_SECONDS} s"))
        self.loop.call_later(ANSWER_SECONDS / POLL_COUNT, connection._writer.transport.abort)

    def get_connection(self, *arguments, **options) -> Awaitable[Connection]:
        """Take a connection, at once or when it is this command's turn."""
        is_free = len(self.pool._in_use_connections) + self.called < CONNECTIONS
        return (self.take_now if is_free else self.take_later)(*arguments, **options)

    async def take_now(self, *arguments, **options) -> Connection:
        """Take an open connection on which nothing has arrived, or let redis-py open or check one.

        redis-py checks by reading for 0 s, which takes a twelfth of an event's CPU time.
        """
        connection = self.pool._available_connections[-1] if self.pool._available_connections else None
        reader = connection and connection.is_connected and connection._reader
        if reader and not (reader._buffer or reader.at_eof() or reader.exception()):
            return self.pool.get_available_connection()
        return await self.take(*arguments, **options)

    async def take_later(self, *arguments, **options) -> Connection:
        """Take a connection after another command has released one.

        Raises:
            RedisConnectionError: If none is released within `POOL_WAIT_SECONDS`.
        """
        turn = self.loop.create_future()
        self.waiting.append((self.polls, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not (turn.cancelled() or turn.exception()):  # the turn had come
                self.called -= 1
                self.call_next()
            raise
        self.called -= 1
        return await self.take_now(*arguments, **options)

    def release(self, connection: Connection) -> Awaitable[None]:
        """Take a connection back and call the next command."""
        self.seen.pop(connection, None)
        if self.waiting:
            self.call_next()
        return self.give_back(connection)

    def call_next(self) -> None:
        """Let the first command go on that still waits."""
        while self.waiting:
            turn = self.waiting.popleft()[1]
            if not turn.done():
                self.called += 1
                turn.set_result(None)
                return
