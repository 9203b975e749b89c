"""A project passes its own scripts/test, with its own tools."""

import shutil

import pytest
from house import Served, must_run
from variants import COMBINATIONS, EDGES, HOSTILE_NAMES, name

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("answers", [*COMBINATIONS, *EDGES, *HOSTILE_NAMES], ids=name)
def test_the_projects_tests_pass(answers, project):
    assert " passed" in must_run("scripts/test", cwd=project(answers))


@pytest.mark.parametrize("answers", HOSTILE_NAMES[:2], ids=name)
def test_a_hostile_name_reaches_the_visitor_as_it_is(answers, project, page):
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
