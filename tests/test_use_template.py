"""A repository that GitHub's button made from this one becomes a project, and is kept fresh."""

import json
import shutil

import pytest
import yaml

from harness.caches import ROOT, only_once
from harness.commands import must_run
from harness.history import CHANGED_FIX, FIXED, NEXT, commit, git, release_a_fix, released
from harness.installs import build
from harness.projects import must_copier
from harness.serving import Served
from harness.workflow import Runner

pytestmark = [pytest.mark.slow, pytest.mark.long]

WORKFLOWS = ROOT / ".github/workflows"
SHARED = ROOT / "template/{% if github_actions %}.github{% endif %}/workflows"


@pytest.fixture
def template(tmp_path):
    return released(tmp_path)


def pressed(folder):
    """Make a repository as the button does: the files of a released template, one commit, a remote."""
    template, checkout = released(folder), folder / "tea-shop"
    git(folder, "init", "--quiet", "--bare", "origin.git")
    git(folder, "init", "--quiet", checkout)
    must_run("bash", "-c", f"git -C {template} archive HEAD | tar --extract --directory {checkout}", cwd=folder)
    commit(checkout, "Initial commit")
    git(checkout, "remote", "add", "origin", folder / "origin.git")
    git(checkout, "push", "--quiet", "--set-upstream", "origin", "main")
    return Runner(checkout, folder / "runner", template)


@pytest.fixture
def runner(tmp_path):
    return pressed(tmp_path)


@pytest.fixture
def made(shared_folder, tmp_path):
    """Have a repository in which the button's workflow has run: once for all tests, and each has a copy."""
    first = shared_folder / "use-template"
    with only_once(first) as needed:
        if needed:
            first.mkdir()
            status, said = pressed(first).run(WORKFLOWS / "use-template.yml", "render")
            assert status == 0, said
    shutil.copytree(first, tmp_path, symlinks=True, dirs_exist_ok=True)
    git(tmp_path / "tea-shop", "remote", "set-url", "origin", tmp_path / "origin.git")
    return Runner(tmp_path / "tea-shop", tmp_path / "runner", tmp_path / "template")


def files(folder):
    return {name: (folder / name).read_bytes() for name in git(folder, "ls-files").split("\n") if name}


def rendered(template, folder, *data):
    """Render the project that is to be expected."""
    options = [f"--data={answer}" for answer in data]
    must_copier("copy", "--quiet", "--defaults", *options, template, folder, cwd=folder.parent)
    git(folder, "init", "--quiet")
    commit(folder, "Start")
    return files(folder)


def but_for_answers(found):
    return {name: content for name, content in found.items() if name != ".copier-answers.yml"}


def test_the_button_ends_with_a_project_of_ones_own(made, tmp_path):
    expected = rendered(made.template, tmp_path / "expected", "project_name=Tea Shop")
    found = files(made.checkout)
    assert but_for_answers(found) == but_for_answers(expected)
    answers = yaml.safe_load(found[".copier-answers.yml"])
    assert answers["_src_path"] == "https://github.com/OWNER/REPOSITORY"
    assert (answers["_commit"], answers["app_name"], answers["service_name"]) == ("v98.0.0", "tea_shop", "tea-shop")

    history = git(made.checkout, "log", "--format=%s", "origin/main").splitlines()
    assert history == ["Start from OWNER/REPOSITORY v98.0.0", "Initial commit"]
    changed = git(made.checkout, "diff", "--name-status", "HEAD~", "--", ".github/workflows").splitlines()
    assert {line[0] for line in changed} == {"D"}, "a workflow's token may only delete them"
    assert made.calls[-1] == ["workflow", "run", "deploy.yml", "--ref", "main"]

    build(made.checkout, "tea_shop")
    with Served(made.checkout) as app:
        assert b"Tea Shop" in app.ready().get("/")[2]


def test_between_two_releases_workflows_are_not_changed(runner):
    """The button copies the newest commit, Copier renders the newest release: their workflows may differ."""
    ours = runner.checkout / ".github/workflows/test.yml"
    ours.write_text(f"{ours.read_text()}# newer than the release\n")
    (runner.checkout / ".github/workflows/update.yml").unlink()
    commit(runner.checkout, "As if the button had copied these")
    git(runner.checkout, "push", "--quiet")
    status, said = runner.run(WORKFLOWS / "use-template.yml", "render")
    assert status == 0, said
    changed = git(runner.checkout, "diff", "--name-status", "HEAD~", "--", ".github/workflows").splitlines()
    assert {line[0] for line in changed} == {"D"}


def test_the_template_itself_stays_as_it_is(template, tmp_path):
    here = Runner(template, tmp_path / "here")
    before = git(template, "rev-parse", "HEAD")
    for workflow, job in (("use-template.yml", "render"), ("update.yml", "update")):
        status, said = here.run(WORKFLOWS / workflow, job, INPUTS="null")
        assert status == 0, said
    assert git(template, "status", "--porcelain") == ""
    assert git(template, "rev-parse", "HEAD") == before
    assert [call[0] for call in here.calls] == ["api"]


def test_a_newer_version_is_proposed(made):
    status, said = made.run(SHARED / "update.yml", "update", INPUTS="null")
    assert (status, "There is nothing new" in said) == (0, True), said
    release_a_fix(made.template)
    status, said = made.run(SHARED / "update.yml", "update", INPUTS="null")
    assert status == 0, said
    proposal = made.calls[-1]
    assert proposal[:4] == ["pr", "create", "--head", f"update/{NEXT}"]
    assert "--draft" not in proposal
    assert "grace_period 6s" in git(made.checkout, "show", f"origin/update/{NEXT}:{FIXED}")
    assert git(made.checkout, "diff", "--name-only", f"origin/main..origin/update/{NEXT}").split() == [
        ".copier-answers.yml",
        FIXED,
        CHANGED_FIX,
    ]


def test_other_answers_are_proposed_by_the_form(made, tmp_path):
    inputs = {"server": "granian", "startup": "", "public": "false", "more": "threads=32; project_description=Tea; "}
    status, said = made.run(SHARED / "update.yml", "update", INPUTS=json.dumps(inputs))
    assert status == 0, said
    assert made.calls[-1][:4] == ["pr", "create", "--head", "update/answers"]
    body = (made.folder / "body.md").read_text()
    for answer in ("server: granian", "threads: 32", "public: false", "project_description: Tea"):
        assert f"- {answer}" in body
    answers = ["project_name=Tea Shop", "server=granian", "public=false", "threads=32", "project_description=Tea"]
    expected = but_for_answers(rendered(made.template, tmp_path / "expected", *answers))
    found = but_for_answers(files(made.checkout))
    # The app is the owner's: an update does not touch it.
    theirs = {name for name in expected if name.startswith("tea_shop/")}
    assert {name: found[name] for name in found.keys() - theirs} == {
        name: expected[name] for name in expected.keys() - theirs
    }


def test_a_wrong_answer_in_the_form_changes_nothing(made):
    status, said = made.run(SHARED / "update.yml", "update", INPUTS=json.dumps({"threads": "many"}))
    assert status != 0
    assert "1 to 256" in said
    assert git(made.checkout, "status", "--porcelain") == ""


def test_what_a_workflow_may_not_change_is_left_to_a_person(made):
    workflow = made.template / SHARED.relative_to(ROOT) / "test.yml"
    workflow.write_text(f"{workflow.read_text()}# newer\n")
    release_a_fix(made.template)
    status, said = made.run(SHARED / "update.yml", "update", INPUTS="null")
    assert status == 1
    assert "Run 'uvx copier update' on your machine" in said
    git(made.checkout, "reset", "--quiet", "--hard")
    status, said = made.run(SHARED / "update.yml", "update", INPUTS="null", MAY_CHANGE_WORKFLOWS="true")
    assert status == 0, said
    assert "# newer" in git(made.checkout, "show", f"origin/update/{NEXT}:.github/workflows/test.yml")


def test_a_conflict_is_a_draft_that_names_the_file(made):
    fixed = made.checkout / FIXED
    fixed.write_text(fixed.read_text().replace("grace_period 4s", "grace_period 5s"))
    commit(made.checkout, "Wait longer")
    release_a_fix(made.template)
    status, said = made.run(SHARED / "update.yml", "update", INPUTS="null")
    assert status == 0, said
    assert made.calls[-1][-1] == "--draft"
    assert f"\n{FIXED}\n" in (made.folder / "body.md").read_text()
    assert "<<<<<<<" in git(made.checkout, "show", f"origin/update/{NEXT}:{FIXED}")


def test_a_version_without_a_tag_is_released_once(template, tmp_path):
    here = Runner(template, tmp_path / "here")
    git(template, "remote", "set-url", "origin", template)
    version = must_run("python", "-m", "maintenance.changelog", "--version", cwd=ROOT).strip()
    status, said = here.run(WORKFLOWS / "release.yml", "version")
    assert status == 0, said
    assert f"new={version}" in (here.folder / "output").read_text()
    status, said = here.run(WORKFLOWS / "release.yml", "release", VERSION=version)
    assert status == 0, said
    assert here.calls[-1][:3] == ["release", "create", f"v{version}"]
    assert (here.folder / "notes.md").read_text().strip() in (ROOT / "CHANGELOG.md").read_text()
    git(template, "tag", f"v{version}")
    status, said = here.run(WORKFLOWS / "release.yml", "version")
    assert (status, "new=" in (here.folder / "output").read_text()) == (0, False)


def test_a_repository_of_the_button_releases_nothing(runner):
    status, said = runner.run(WORKFLOWS / "release.yml", "version")
    assert (status, "new=" in (runner.folder / "output").read_text()) == (0, False), said
