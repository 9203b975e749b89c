"""Waits until Redis answers, and ends the worker with the reason if it does not.

On Cloud Run an instance's first connection to its network may take minutes:
https://cloud.google.com/run/docs/configuring/vpc-direct-vpc#limitations
"""

import asyncio
import logging
import os
import re
import socket
import time

import reflex as rx
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from reflex.config import get_config

ANSWER_SECONDS = 5
"""How long to wait for one answer of Redis."""
logger = logging.getLogger(__name__)


async def start(_: rx.App) -> None:
    """Wait for the Redis of `REFLEX_REDIS_URL`, if it is set."""
    if url := get_config().redis_url:
        await require_redis(url)


async def require_redis(url: str) -> None:
    """Wait until Redis answers, at most as long as a start may take (`STARTUP_SECONDS`, set by start.sh).

    Only waiting counts against the limit: while no request is open, Cloud Run takes the CPU away and the clock goes on.

    Raises:
        RuntimeError: If it does not answer in that time, or rejects the connection or the password.
    """
    left = float(os.environ.get("STARTUP_SECONDS", "10")) - 2 * ANSWER_SECONDS
    while True:
        started = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_SECONDS), Redis.from_url(url) as redis:
                await redis.ping()
        except (RedisError, OSError, ValueError) as error:
            where = re.sub(r"//.*@", "//***@", url)
            msg = f"Redis does not answer at {where} (REFLEX_REDIS_URL): {str(error) or type(error).__name__}."
            left -= max(1, min(time.monotonic() - started, 2 * ANSWER_SECONDS))
            if left <= 0 or not is_temporary(error):
                raise RuntimeError(f"{msg} Is it running?") from None
            logger.warning("%s Trying again.", msg)
            await asyncio.sleep(1)
        else:
            return


def is_temporary(error: BaseException | None) -> bool:
    """Return whether a connection that failed may succeed later: without an answer it may, after a rejection not."""
    while error:
        if isinstance(error, (ConnectionRefusedError, socket.gaierror, AuthenticationError, ResponseError, ValueError)):
            return False
        error = error.__cause__ or error.__context__
    return True
