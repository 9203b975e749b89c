"""Reflex bug: each worker hears of every lock that another worker takes or gives back.

All workers together cannot handle more than some 3,200 events a second, however many there are. This subscribes to the
one lock that an event waits for. It also fixes a bug behind `REFLEX_OPLOCK_ENABLED`: two events that begin to wait for
a lock that is already free wait for each other. Seen in Reflex 0.10.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import reflex as rx
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError
from reflex.istate.manager.redis import StateManagerRedis

ANSWER_SECONDS = 2
"""How long an event waits for the confirmation of its subscription."""
PRIVATE = [
    *(
        "_lock_task",
        "_lock_updates_subscribed",
        "_lock_waiter",
        "_lock_waiters",
        "_n_lock_waiters",
        "_notify_next_waiter",
    ),
    *("_enable_keyspace_notifications", "_ensure_lock_task", "_handle_lock_contention", "_handle_lock_release"),
    "_subscribe_lock_updates",
]
"""Undocumented names of Reflex that this uses."""
SUBSCRIBING_FAILS = (RedisError, OSError, RuntimeError, AttributeError)
"""What a subscription raises; RuntimeError is uvloop's on a closed connection, AttributeError if the listener ends."""


def apply(app: rx.App) -> None:
    """Replace Reflex's listener."""
    if isinstance(app.state_manager, StateManagerRedis):
        LockWaiters(app.state_manager)


class LockWaiters:
    """Hears of a lock only while an event of this worker waits for it."""

    def __init__(self, states: StateManagerRedis) -> None:
        """Replace the listener of `states`."""
        for name in PRIVATE:
            getattr(states, name)
        self.states = states
        self.wait = states._lock_waiter
        self.prefix = f"__keyspace@{states.redis.get_connection_kwargs().get('db', 0)}__:"
        self.pubsub: PubSub | None = None
        self.heard: dict[str, asyncio.Event] = {}
        states._lock_waiter = self.waiter
        states._subscribe_lock_updates = self.listen
        if states._lock_task:  # where the app is loaded within the event loop, Reflex's own has started
            states._lock_task.cancel()
            states._lock_task = None
            states._ensure_lock_task()

    async def listen(self) -> None:
        """Listen until Redis does not answer any more, also to other workers that want a lock back."""
        states = self.states
        await states._enable_keyspace_notifications()
        async with states.redis.pubsub() as pubsub:
            await pubsub.psubscribe(**{f"{self.prefix}*_lock_waiters": states._handle_lock_contention})
            try:
                self.pubsub = pubsub
                for channel in list(self.heard):
                    await pubsub.subscribe(**{channel: states._handle_lock_release})
                async for message in pubsub.listen():
                    if message["type"] == "psubscribe":
                        states._lock_updates_subscribed.set()
                    elif message["type"] == "subscribe" and (known := self.heard.get(message["channel"].decode())):
                        known.set()
                        # It may have been given back while nobody listened.
                        states._notify_next_waiter(message["channel"].removeprefix(self.prefix.encode()))
            finally:
                states._lock_updates_subscribed.clear()
                self.pubsub = None

    @contextlib.asynccontextmanager
    async def waiter(self, lock_key: bytes) -> AsyncIterator[asyncio.Event]:
        """Wait for a lock as Reflex does, and listen to it meanwhile. The event is set when the lock is given back."""
        channel = self.prefix + lock_key.decode()
        try:
            async with self.wait(lock_key) as given_back:
                try:
                    await self.hear(channel)
                    if self.states._lock_waiters[lock_key][0] is given_back:
                        given_back.set()  # the lock may be free already: then nobody reports it
                    yield given_back
                finally:
                    if self.states._n_lock_waiters(lock_key) <= 1 and self.heard.pop(channel, None) and self.pubsub:
                        with contextlib.suppress(*SUBSCRIBING_FAILS):
                            await self.pubsub.unsubscribe(channel)
        except BaseException:
            # This event may have been told that the lock is free: the next one has to try.
            self.states._notify_next_waiter(lock_key)
            raise

    async def hear(self, channel: str) -> None:
        """Subscribe to a lock's channel and wait for the confirmation: what happened before it is not reported."""
        known = self.heard.get(channel)
        if known is None:
            known = self.heard[channel] = asyncio.Event()
            if self.pubsub:
                with contextlib.suppress(*SUBSCRIBING_FAILS):  # the next listener subscribes again
                    await self.pubsub.subscribe(**{channel: self.states._handle_lock_release})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):  # wait_for may lose a cancellation in Python 3.11
                await known.wait()
