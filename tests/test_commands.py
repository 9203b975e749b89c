"""The commands of the two READMEs: each serves with one line, and Ctrl-C stops it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess

import pytest
from playwright.sync_api import expect

from harness.caches import ROOT
from harness.commands import clean_environment, run
from harness.processes import session, until
from harness.serving import get
from harness.tcp_ports import free_port
from harness.visitor import open_page

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def serving(*command, cwd, log, **environment):
    """Run a command that serves on a free port, yield the address that it prints, and press Ctrl-C."""
    with log.open("w") as output:
        serve = subprocess.Popen(
            command,
            cwd=cwd,
            env=clean_environment(PORT=str(free_port()), **environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(lambda: "ready on port" in log.read_text() or serve.poll() is not None, 240)
        assert "ready on port" in log.read_text(), log.read_text()
        yield re.search(r"Serving on (http://localhost:\d+)", log.read_text())[1]
        os.killpg(serve.pid, signal.SIGINT)  # what Ctrl-C does
        assert serve.wait(10) == 0, log.read_text()
        assert session(serve.pid) == []
    finally:
        if serve.poll() is None:
            os.killpg(serve.pid, signal.SIGKILL)


def test_one_command_serves_a_project_and_another_beside_it(project, tmp_path):
    one = project({"server": "gunicorn", "state_store": "disk"}, name="one")
    other = project({"server": "uvicorn", "state_store": "redis"}, name="other")
    with (
        serving("scripts/serve", cwd=one, log=tmp_path / "log-of-one") as address,
        serving("scripts/serve", cwd=other, log=tmp_path / "log-of-other") as another,
    ):
        for path in ("/", "/_health"):
            assert get(f"{address}{path}")[0] == get(f"{another}{path}")[0] == 200


def test_without_a_redis_the_command_names_the_ways_to_get_one(project, tmp_path):
    made = project({"state_store": "redis"})
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in (
        "bash",
        "python3",
        "sha256sum",
        "cat",
        "dirname",
        "mktemp",
        "rm",
        "sed",
        "grep",
        "node",
        "env",
        "uname",
    ):
        (tools / name).symlink_to(shutil.which(name))
    done = run("scripts/serve", cwd=made, PATH=str(tools))
    assert done.returncode == 1, done.stdout
    for way in ("sudo apt-get install redis-server", "REFLEX_REDIS_URL", "docker compose up --build"):
        assert way in done.stdout
    assert not (made / ".web").exists(), "it built the app first"


def test_one_command_shows_the_template(page, tmp_path):
    with serving("scripts/demo", "server=granian", cwd=ROOT, log=tmp_path / "log") as address:
        open_page(page, address)
        for count in ("1", "2", "3"):
            page.click("#increment")
            expect(page.locator("#count")).to_have_text(count)
        page.goto(f"{address}/about")
        expect(page.locator("#facts")).to_contain_text("granian")


@pytest.mark.parametrize(("argument", "words"), [("granian", "server=granian"), ("server=hypercorn", "server")])
def test_a_wrong_answer_to_the_demo_is_named(argument, words):
    done = run("scripts/demo", argument, cwd=ROOT)
    assert done.returncode != 0
    assert words in done.stdout
