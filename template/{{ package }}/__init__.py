"""What runs in production and is not the app. README.md explains each file.

A server loads `production:app`. `reflex run` in development uses nothing of this.
"""


def app() -> object:
    """Load the app as `reflex run` does: rxconfig.py first, whose settings decide which events a state has."""
    from reflex.utils.prerequisites import get_app

    return get_app().app()


def __getattr__(name: str) -> object:
    """Import the plugin when Reflex asks for it: a server's main process needs only the log format, not Reflex."""
    if name == "ProductionPlugin":
        from .plugin import ProductionPlugin

        return ProductionPlugin
    raise AttributeError(name)
