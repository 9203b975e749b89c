"""Checks that a worker in production knows every state and event of the built pages.

A worker does not compile: it evaluates only the pages that Reflex lists in `backend/stateful_pages.json`, those that
create a state. What another page registers when it is evaluated would be missing, so that page is added to the list.
"""

import json
import re
from pathlib import Path

import reflex as rx

from .addresses import public_origin, separate_backend


def describe(app: rx.App, config: rx.Config) -> dict:
    """Return what deploy/build/trial.py has to know to send an event as the built pages do."""
    backend = separate_backend(config.api_url, config.deploy_url)
    transport = getattr(config, "transport", "websocket")
    # With requests in place of a WebSocket, a browser asks only where the backend has another address.
    checked = "*" not in config.cors_allowed_origins and (backend or transport == "websocket")
    return {
        "backend": backend,
        "backend_path": backend_path(config),
        "deploy_url": public_origin(config.deploy_url),
        "has_state": app.event_namespace is not None,
        "origins": list(config.cors_allowed_origins) if checked else None,
        "transport": transport,
    }


def backend_path(config: rx.Config) -> str:
    """Return the app's setting without a slash at its end: empty, or such as `/api`; Reflex 0.8 has none."""
    return getattr(config, "backend_path", "").rstrip("/")


def check(app: rx.App, web: Path) -> None:
    """Make sure that each worker knows the states and events of the built pages.

    Args:
        app: The app, started as a worker starts it.
        web: The folder that Reflex builds in.

    Raises:
        RuntimeError: If a worker would still differ from what the pages were built with.
    """
    context = web / "utils" / "context.jsx"
    built = re.search(r'stateSchema = "(\w+)"', context.read_text()) if context.exists() else None
    if not built:
        list_pages(app, web)
        return
    try:
        from reflex_base.registry import RegistrationContext

        handlers = RegistrationContext.get().event_handlers
        missing = sorted(sent_events(web) - handlers.keys())
        if not missing and schema(app) == built[1]:
            return
        listed = web / "backend" / "stateful_pages.json"
        needed = json.loads(listed.read_text())
        for route in list(app._unevaluated_pages):
            before = schema(app)
            app._compile_page(route, save_page=False)
            if schema(app) != before and route not in needed:
                needed.append(route)
        if schema(app) == built[1] and not sent_events(web) - handlers.keys():
            listed.write_text(json.dumps(needed))
            return
    except (AttributeError, ImportError, OSError) as error:
        print(f"production.build: the events of the pages are not checked, this Reflex is not known: {error}.")
        return
    names = f", for example {', '.join(missing[:5])}" if missing else ""
    msg = (
        f"The pages were built with states or events that a worker does not have when it starts{names}. Does"
        " the app define its states by an environment variable, a file or the time?"
    )
    raise RuntimeError(msg)


def list_pages(app: rx.App, web: Path) -> None:
    """Have a worker evaluate each page that adds a state, a variable or an event: before 0.10 there is no checksum."""
    listed = web / "backend" / "stateful_pages.json"
    if app._state is None or not listed.exists():
        return
    needed = json.loads(listed.read_text())
    for route in list(app._unevaluated_pages):
        before = known(app._state)
        app._compile_page(route, save_page=False)
        if known(app._state) != before and route not in needed:
            needed.append(route)
    listed.write_text(json.dumps(needed))


def known(state: type[rx.State]) -> dict[str, list[str]]:
    """Return the names of the variables and events of a state and of all below it."""
    names = {state.get_full_name(): sorted([*state.vars, *state.event_handlers])}
    for substate in state.get_substates() if hasattr(state, "get_substates") else state.class_subclasses:
        names |= known(substate)
    return names


def schema(app: rx.App) -> str:
    """Return the checksum of an app's states, variables and events that Reflex writes into the pages."""
    from reflex.state import _frontend_schema

    _frontend_schema.cache_clear()  # Reflex does not do it when an event is added
    return app._state._to_frontend_schema()


def sent_events(web: Path) -> set[str]:
    """Return the events that the built pages send, such as `reflex___state____state.counter.increment`."""
    return {
        name
        for folder in ("app", "app_components", "utils")
        for script in (web / folder).rglob("*.js*")
        for name in re.findall(r'ReflexEvent\("(reflex___state____state\.[\w.]+)"', script.read_text())
    }
