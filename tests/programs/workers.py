"""What a worker has for the locks of tabs, in a project with a Redis at REFLEX_REDIS_URL."""

import os

import reflex as rx
from production.fixes import event_round_trips, lock_releases, lock_waiters, redis_timeouts
from redis.asyncio import Redis
from reflex.istate.manager.redis import StateManagerRedis
from reflex.istate.manager.token import BaseStateToken


def client():
    return Redis.from_url(os.environ["REFLEX_REDIS_URL"])


def manager():
    states = StateManagerRedis(redis=client())
    redis_timeouts.limit(states.redis)
    event_round_trips.RoundTrips(states)
    lock_releases.LockReleases(states)
    return states, lock_waiters.LockWaiters(states)


def tab(name):
    return BaseStateToken(ident=name, cls=rx.State)
