"""What runs in production and is not the app. README.md explains each file.

A server loads `production:app`. `reflex run` in development uses nothing of this.
"""

import contextlib

with contextlib.suppress(ImportError):  # a project on Python 3.15 has it
    from . import lazy_imports as lazy_imports


def app() -> object:
    """Load the app as `reflex run` does: rxconfig.py first, whose settings decide which events a state has."""
    from reflex.config import get_config
    from reflex.utils.prerequisites import get_app

    from .plugin import ProductionPlugin

    loaded = get_app().app
    if not any(isinstance(plugin, ProductionPlugin) for plugin in get_config().plugins):
        ProductionPlugin().post_compile(app=loaded)  # Reflex 0.8 does not know REFLEX_EXTRA_PLUGINS
    return loaded()


def __getattr__(name: str) -> object:
    """Import the plugin when Reflex asks for it: a server's main process needs only the log format, not Reflex."""
    if name == "ProductionPlugin":
        from .plugin import ProductionPlugin

        return ProductionPlugin
    raise AttributeError(name)
