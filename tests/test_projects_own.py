"""A project passes its own scripts/test, with its own tools."""

import os
import re
import shutil
import signal
import subprocess

import pytest
from house import clean_environment, free_port, get, must_run, until
from variants import COMBINATIONS, EDGES, HOSTILE_NAMES, name

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("answers", [*COMBINATIONS, *EDGES, *HOSTILE_NAMES], ids=name)
def test_the_projects_tests_pass(answers, project):
    assert " passed" in must_run("scripts/test", cwd=project(answers))


@pytest.mark.parametrize("answers", HOSTILE_NAMES[:2], ids=name)
def test_a_hostile_name_reaches_the_visitor_as_it_is(answers, project, page):
    from house import Served

    with Served(project(answers, built=True)) as app:
        app.ready()
        page.goto(app.url)
        assert page.title() == answers["project_name"]
        assert page.locator("h1").inner_text() == answers["project_name"]


def test_on_a_machine_with_nothing_set_up(render, tmp_path):
    made = tmp_path / "project"
    shutil.copytree(render(), made, ignore=shutil.ignore_patterns(".venv"))
    assert " passed" in must_run("scripts/test", cwd=made)
    assert must_run("scripts/bootstrap", cwd=made) == ""


@pytest.mark.parametrize("store", ["disk", "redis"])
def test_one_command_serves_the_project(store, project):
    made = project({"state_store": store})
    port, backend_port = free_port(), free_port()
    log = made / "serve.log"
    with log.open("w") as output:
        serve = subprocess.Popen(
            ["scripts/serve"],
            cwd=made,
            env=clean_environment(PORT=str(port), BACKEND_PORT=str(backend_port)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(lambda: "ready on port" in log.read_text() or serve.poll() is not None, 120)
        address = re.search(r"Serving on (http://localhost:\d+)", log.read_text())[1]
        assert get(address)[0] == 200
        assert get(f"{address}/_health")[0] == 200
        os.killpg(serve.pid, signal.SIGINT)  # what Ctrl-C does
        assert serve.wait(10) == 0, log.read_text()
        assert not subprocess.run(["pgrep", "--session", str(serve.pid)], capture_output=True, check=False).stdout
    finally:
        if serve.poll() is None:
            os.killpg(serve.pid, signal.SIGKILL)
