"""Has Reflex build the pages in `.web`, runs the jobs on them, and writes two files beside them.

`.web/build/routes.caddy` is imported by the Caddyfile, `.web/build/events.json` is read by deploy/build/trial.py.
"""

import json
import os
import sys
from pathlib import Path

from reflex.config import get_config
from reflex.utils.prerequisites import get_app

from .addresses import use_own_address
from .api import api_hosts, api_patterns, caddy_api
from .events import backend_path, check, describe
from .routes import caddy_pages
from .scripts import name_rejected, script_hashes
from .site_files import write_site_files


def main() -> None:
    """Build the pages, and finish them in a new process, which loads the app as a worker does.

    Both end here, whatever threads the app has started.
    """
    if sys.argv[1:] != ["finish"]:
        from .export import export_pages

        export_pages(Path(sys.argv[1]) if sys.argv[1:] else None)
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", __package__, "finish"])  # noqa: S606
    finish_pages()
    sys.stdout.flush()
    os._exit(0)


def finish_pages() -> None:
    """Run the jobs.

    Raises:
        RuntimeError: If this version of Reflex builds pages in an unknown way, or a worker would lack an event of them.
    """
    web = Path(".web")
    config = get_config()
    static_dir = web / "build" / "client"
    pages = static_dir / config.frontend_path.strip("/")
    use_own_address(pages, config.api_url, config.deploy_url)
    # As environment.sh sets them for the workers.
    os.environ |= {"__REFLEX_SKIP_COMPILE": "1", "REFLEX_ENV_MODE": "prod"}
    app = get_app().app
    asgi_app = app()
    check(app, web)
    (web / "build" / "events.json").write_text(json.dumps(describe(app, config)))
    listed = web / "routes.json"  # since Reflex 0.10
    routes = json.loads(listed.read_text()) if listed.exists() else list(app._unevaluated_pages)
    (web / "build" / "routes.caddy").write_text(
        caddy_api(backend_path(config), list(api_patterns(asgi_app)), api_hosts(asgi_app))
        + caddy_pages(static_dir, config.frontend_path.rstrip("/"), routes)
        + script_hashes(static_dir, web)
    )
    if (caddyfile := Path("Caddyfile")).exists():  # the image is built without it
        name_rejected(web, caddyfile)
    write_site_files(static_dir, pages, config.deploy_url)


if __name__ == "__main__":
    main()
