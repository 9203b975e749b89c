"""A project passes its own scripts/test, with its own tools."""

import pytest

from harness.caches import digest, only_once
from harness.commands import must_run
from harness.projects import copy_files
from harness.serving import Served
from tests.variants import COMBINATIONS, EDGES, HOSTILE_NAMES, name

pytestmark = pytest.mark.slow

#: What neither pytest nor ruff reads of a project.
NOT_READ = {
    *(".copier-answers.yml", ".dockerignore", ".gcloudignore", ".github", ".venv", ".web"),
    *("deploy", "docs", "README.md", "Caddyfile", "Dockerfile", "cloudbuild.yaml", "compose.yaml", "start.sh"),
    *("caddy", "environment.sh", "supervise.sh"),  # in production/
}


@pytest.mark.parametrize("answers", [*COMBINATIONS, *EDGES, *HOSTILE_NAMES], ids=name)
def test_the_projects_tests_pass(answers, render, project, shared_folder):
    """Projects that differ in nothing that scripts/test reads, such as in the order of the start, need it once."""
    made = render(answers)
    files = {*made.iterdir(), *(made / "production").iterdir()} - {made / "production"}
    read = [str(path.relative_to(made)) for path in files if path.name not in NOT_READ]
    with only_once(shared_folder / "tested" / digest(made, [*sorted(read), "deploy/build/trial.py"])) as needed:
        if needed:
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
    copy_files(render(), made)
    assert " passed" in must_run("scripts/test", cwd=made)
    assert must_run("scripts/bootstrap", cwd=made) == ""
