"""Reflex bug: the state of each closed tab stays in memory and in a file for an hour, without a limit.

A visit without a click takes about 30 KB of the two, and needs no login: some 13,000 of them would fill 512 MiB. This
keeps the states of the last closed tabs, for those that reconnect; of the others, those without a click are removed
first.
"""

import asyncio
import logging
import os
import time
from collections import deque
from pathlib import Path

import reflex as rx
from reflex.istate.manager.disk import StateManagerDisk
from reflex.istate.manager.token import StateToken
from reflex.state import BaseState

MAX_CLOSED_TABS = int(os.environ.get("CLOSED_TABS", "1000"))
WRITING_SECONDS = 10
"""How long after a state was removed Reflex may still write its file."""
LOG_SECONDS = 60
"""The shortest time between two log entries about removed states."""
PRIVATE = ["states", "token_path", "_token_last_touched", "_is_locked", "_purge_token"]
"""Undocumented names of Reflex that this uses."""

logger = logging.getLogger(__name__)


def apply(app: rx.App) -> asyncio.Task | None:
    """Remove the states of the oldest closed tabs, from now on."""
    states, namespace = app.state_manager, app.event_namespace
    if not (namespace and isinstance(states, StateManagerDisk)):
        return None
    for name in PRIVATE:
        getattr(states, name)
    tokens = namespace._token_manager
    clicked: set[str] = set()
    on_event = namespace.on_event

    async def on_event_noted(sid: str, data: object) -> None:
        if isinstance(data, dict) and not str(data.get("name")).endswith(".hydrate_and_load"):
            clicked.add(tokens.sid_to_token.get(sid, ""))
        await on_event(sid, data)

    namespace.on_event = on_event_noted
    return asyncio.create_task(limit(states, tokens.token_to_socket, clicked))


async def limit(states: StateManagerDisk, open_tabs: dict, clicked: set[str]) -> None:
    """Remove the states above the limit, once a second.

    Args:
        states: Reflex's states.
        open_tabs: The open tabs, by token.
        clicked: The tokens of the tabs that have sent an event beyond loading the page.
    """
    removed, logged = 0, -LOG_SECONDS
    files: deque[tuple[float, str, list[Path]]] = deque()
    while True:
        await asyncio.sleep(1)
        while files and time.monotonic() - files[0][0] > WRITING_SECONDS:
            _, token, paths = files.popleft()
            if token not in states.states:  # the tab has not reconnected
                delete(paths)
        clicked &= states._token_last_touched.keys() | open_tabs.keys()
        closed = [token for token in states._token_last_touched if token not in open_tabs]
        for token in above_the_limit(closed, states._token_last_touched, clicked):
            if paths := remove(states, states._token_last_touched[token][1]):
                removed += 1
                files.append((time.monotonic(), token, paths))
            await asyncio.sleep(0)  # visitors first
        if removed and time.monotonic() - logged > LOG_SECONDS:
            logger.warning("removed the state of %d closed tabs; %d are kept", removed, MAX_CLOSED_TABS)
            removed, logged = 0, time.monotonic()


def above_the_limit(closed: list[str], touched: dict[str, tuple[float, StateToken]], clicked: set[str]) -> list[str]:
    """Choose the closed tabs whose states are removed: those without a click first, the oldest first.

    Args:
        closed: The tokens of all closed tabs.
        touched: When each was last used, a time of `time.time()`, and its token as Reflex has it.
        clicked: The tokens of the tabs that were used.
    """
    if len(closed) <= MAX_CLOSED_TABS:
        return []
    return sorted(closed, key=lambda token: (token in clicked, touched[token][0]))[: len(closed) - MAX_CLOSED_TABS]


def remove(states: StateManagerDisk, token: StateToken) -> list[Path]:
    """Remove the state of a tab from memory and disk.

    Returns:
        Where its files were, since Reflex may write them once more; nothing if the state is in use, and stays.
    """
    state = states.states.get(token.cache_key)
    if states._is_locked(token) or not isinstance(state, BaseState):
        return []
    parts = with_substates(state)
    for part in parts:
        part._was_touched = False  # Reflex then skips a write that is still queued
    paths = [states.token_path(token.with_cls(type(part))) for part in parts]
    delete(paths)
    states._purge_token(token)
    return paths


def delete(paths: list[Path]) -> None:
    """Delete files that may not exist."""
    for path in paths:
        path.unlink(missing_ok=True)


def with_substates(state: BaseState) -> list[BaseState]:
    """List a state and all states below it."""
    return [state, *(below for child in state.substates.values() for below in with_substates(child))]
