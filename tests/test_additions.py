"""What an owner adds, each in the one place that the README names."""

import re

import pytest

from harness.commands import must_run, run
from harness.engine import Container, build, docker
from harness.processes import until
from harness.serving import Served, get

pytestmark = pytest.mark.slow

USES_ALL_OF_THEM = """
import subprocess
from pathlib import Path
from prices import VAT
QUACK = subprocess.check_output("quack", text=True).strip()
NAME = f"{VAT} {Path('data/prices.csv').read_text().strip()} {QUACK}"
"""

PAGE = '''"""The shop."""

import reflex as rx


def shop() -> rx.Component:
    """Show what is sold.

    Returns:
        The page.
    """
    return rx.el.h1("Tea")
'''


def test_a_system_package_another_package_and_data_get_into_the_image(project):
    """The system package is a file that the test makes: the image is built without a package mirror."""
    made = project()
    dockerfile = made / "Dockerfile"
    marked = re.compile(r"^# (RUN )apt-get update && apt-get install .*$", re.MULTILINE)
    text, places = marked.subn(
        r"\1printf '#!/bin/sh\\necho quack' >/usr/local/bin/quack && chmod +x /usr/local/bin/quack",
        dockerfile.read_text(),
    )
    assert places == 1, "one place for a system package"
    dockerfile.write_text(text)
    (made / "prices").mkdir()
    (made / "prices/__init__.py").write_text("VAT = 19\n")
    (made / "data").mkdir()
    (made / "data/prices.csv").write_text("tea,3\n")
    with (made / ".dockerignore").open("a") as allowed:
        allowed.write("!/prices\n!/data\n")
    settings = made / "my_reflex_app/settings.py"
    settings.write_text(f"{settings.read_text()}{USES_ALL_OF_THEM}")

    build(made, "additions:test")
    with Container("additions:test") as app:
        app.ready()
        assert b"<title>19 tea,3 quack" in get(app.url)[2], "the pages were built with all of them"
        asks = "from my_reflex_app.settings import NAME; print(NAME)"
        assert docker("exec", app.id, "python", "-c", asks).strip() == "19 tea,3 quack"


def test_a_page_is_a_function_and_a_line(project):
    made = project()
    (made / "my_reflex_app/pages/shop.py").write_text(PAGE)
    app = made / "my_reflex_app/my_reflex_app.py"
    text = app.read_text().replace(
        "from my_reflex_app.pages.upload", "from my_reflex_app.pages.shop import shop\nfrom my_reflex_app.pages.upload"
    )
    app.write_text(f'{text}app.add_page(shop, route="/shop", title="Shop")\n')
    assert " passed" in must_run("scripts/test", cwd=made)
    must_run("scripts/build", cwd=made)
    with Served(made) as served:
        served.ready()
        assert served.get("/shop")[0] == 200


def test_a_reflex_without_what_the_workaround_needs_costs_the_workaround_only(project, redis_url):
    made = project({"state_store": "redis"}, built=True)
    tabs = made / "production/fixes/open_tabs.py"
    tabs.write_text(tabs.read_text().replace('"_get_redis_key"', '"_get_redis_key_of_old"'))
    with Served(made, REFLEX_REDIS_URL=redis_url) as app:
        app.ready()
        until(lambda: "production/fixes/open_tabs.py does not fit this version of Reflex" in app.log, 10)
        assert "_get_redis_key_of_old" in app.log
        assert app.get("/ping")[0] == 200


def test_the_workaround_may_be_deleted(project, redis_url):
    made = project({"state_store": "redis"}, built=True)
    (made / "production/fixes/open_tabs.py").unlink()
    with Served(made, REFLEX_REDIS_URL=redis_url) as app:
        app.ready()
        assert app.get("/ping")[0] == 200
        assert "open_tabs" not in app.log


@pytest.mark.parametrize(
    ("script", "needed", "command"),
    [("production/supervise.sh", "5.1", ["bash", "start.sh"]), ("deploy/lib/common.sh", "4.4", ["bash", "deploy/now"])],
)
def test_the_bash_of_a_mac_is_told_what_is_needed(script, needed, command, project):
    """No bash 3.2 can be had here: the script is made to see its version."""
    made = project()
    path = made / script
    path.write_text(
        path.read_text().replace("BASH_VERSINFO", "THEIRS").replace("if ((THEIRS", "THEIRS=(3 2)\nif ((THEIRS", 1)
    )
    done = run(*command, cwd=made)
    assert done.returncode == 1
    assert f"bash {needed} or later is needed" in done.stdout
    assert "On macOS" in done.stdout
    assert len(done.stdout.splitlines()) == 1
