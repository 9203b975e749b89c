"""What existing apps do while they are imported, and what lies in their assets."""

import http.client

import pytest

from harness.apps import adopt, copy_of, lock
from harness.commands import must_run, run
from harness.engine import Container, built
from harness.installs import install
from harness.serving import Served, get

pytestmark = pytest.mark.slow

IMPORTED = """
import os, threading, time
GREETING = os.environ["GREETING"]
threading.Thread(target=time.sleep, args=(3600,)).start()
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """Adopt an app that reads a variable and starts a thread while it is imported, and build it with that variable."""
    folder = copy_of("ordinary", tmp_path_factory.mktemp("habits") / "app")
    module = folder / "ordinary/ordinary.py"
    module.write_text(module.read_text() + IMPORTED)
    (folder / "assets/manual").mkdir(parents=True)
    (folder / "assets/manual/index.html").write_text('<a href="next.html">next</a>')
    (folder / "assets/old.txt").write_text("old")
    adopt(folder, "--data=deploy_url=https://shop.example")
    lock(folder)
    install(folder)
    (folder / ".env").write_text("GREETING=hello\n")
    must_run("scripts/build", cwd=folder)  # it ends, whatever the thread does
    return folder


def test_a_variable_that_the_build_lacks_is_named(app):
    (app / ".env").rename(app / "kept")
    try:
        done = run("scripts/build", cwd=app)
    finally:
        (app / "kept").rename(app / ".env")
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    assert "ordinary.py, line" in last
    assert "'GREETING'" in last
    assert ".env for this machine and in deploy/env.yaml" in last
    assert "Traceback" not in done.stdout


def test_an_asset_that_was_deleted_is_not_served(app):
    assert (app / ".web/build/client/old.txt").exists()
    (app / "assets/old.txt").unlink()
    must_run("scripts/build", cwd=app)
    assert not (app / ".web/build/client/old.txt").exists()


def test_a_folder_of_files_gets_its_slash_and_the_site_has_its_own_address(app):
    with Served(app, GREETING="hello") as served:
        served.ready()
        connection = http.client.HTTPConnection("localhost", served.port, timeout=10)
        connection.request("GET", "/manual")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Location"]) == (302, "/manual/")
        connection.close()
        assert b"next.html" in served.get("/manual/")[2]
        assert served.get("/item/7")[0] == 200
        assert b"Sitemap: https://shop.example/sitemap.xml" in served.get("/robots.txt")[2]
        sitemap = served.get("/sitemap.xml")[2]
        assert b"https://shop.example" in sitemap
        assert b"localhost" not in sitemap


def test_an_image_gets_the_variables_of_its_deployment(app):
    (app / "deploy/env.yaml").write_text("# What the app greets with.\nGREETING: \"hello\"\nOTHER: 'it''s' # unused\n")
    with Container(built(app), GREETING="hello") as container:
        assert get(f"{container.ready().url}/")[0] == 200
