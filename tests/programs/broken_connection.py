"""Breaks a connection just before a command is sent, then lets listeners end while Redis reports an unknown error."""

import asyncio
import os
import types

import uvloop
from production.fixes import redis_full, redis_listeners, redis_timeouts
from redis.asyncio import Redis
from redis.exceptions import RedisError


async def main():
    redis = Redis.from_url(os.environ["REFLEX_REDIS_URL"], retry_on_error=[RedisError])
    redis_timeouts.limit(redis)
    pool = redis.connection_pool
    connection = await pool.get_connection()
    limited = pool.get_connection.__self__
    limited.seen[connection] = redis_timeouts.POLL_COUNT
    limited.poll()
    await asyncio.sleep(0.01)
    try:
        await connection.send_command("PING")
    except RedisError as error:
        print(f"failed: {error}")
    await pool.release(connection)
    print(f"again: {await redis.ping()}")

    async def fails(*_, **__):
        raise RuntimeError("not what Redis or its client says")

    redis.info = fails
    listener = types.SimpleNamespace(task=asyncio.create_task(asyncio.sleep(0)))
    started = asyncio.Event()
    record = types.SimpleNamespace(instance_id="this")
    tokens = types.SimpleNamespace(instance_id="this", token_to_socket={"tab": record}, _store_socket_record=fails)
    tasks = [
        asyncio.create_task(redis_full.watch(redis)),
        asyncio.create_task(redis_listeners.keep_listening(tokens, [(listener, "task", started.set)])),
    ]
    await asyncio.wait_for(started.wait(), 10)
    await asyncio.sleep(0.1)
    print(f"go on: {not any(task.done() for task in tasks)}")


uvloop.run(main())
