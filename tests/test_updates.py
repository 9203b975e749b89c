"""`copier update`: the fix arrives, the owner's work stays, and only what both have touched is a conflict."""

import hashlib
import itertools
import re
import shutil

import pytest
import yaml

from harness.apps import copy_of, lock
from harness.caches import CACHE, ROOT, digest, only_once
from harness.commands import must_run, run
from harness.history import CHANGED_FIX, NEXT, RELEASES, commit, git, release_a_fix, released
from harness.installs import build
from harness.projects import copier, copy, must_copier
from harness.servers import SERVERS
from harness.serving import Served
from maintenance.changelog import version as version_of_this_commit
from tests.variants import COMBINATIONS, name

pytestmark = pytest.mark.slow

#: A line that the owner adds to a file: the file, the line, and the line that it is put behind (at the end, if None).
ADDED = [
    ("Dockerfile", "# mine: one more tool", "WORKDIR /app"),
    ("Caddyfile", "\t# mine: a header", "\troot .web/build/client"),
    ("start.sh", "# mine: a setting", "set -euo pipefail"),
    ("cloudbuild.yaml", "# mine: the build", None),
    ("requirements.txt", "# mine: a package", None),
    ("pyproject.toml", "# mine: a rule", None),
    ("my_reflex_app/state.py", "# mine: a state", None),
    ("tests/test_state.py", "# mine: a test", None),
    ("deploy/env.yaml", "# mine: a setting", None),
    ("deploy/candidate", "# mine: a flag", None),  # where it was before 0.3.0
    ("deploy/build/candidate", "# mine: a flag", None),
    ("gunicorn.conf.py", "# mine: a module", None),  # where it was before 0.3.0
    ("production/gunicorn_conf.py", "# mine: a module", None),
    (".dockerignore", "!data", None),
]
DELETED = ["my_reflex_app/pages/about.py", "tests/test_pages.py", "assets/favicon.svg", CHANGED_FIX]
README = "# My own words\n"


@pytest.fixture(scope="module")
def template(shared_folder):
    """This repository with its releases, this commit as v98.0.0 and a fix after it."""
    releases = shared_folder / "releases"
    with only_once(releases) as needed:
        if needed:
            releases.mkdir()
            release_a_fix(released(releases))
    return releases / "template"


@pytest.fixture
def rendered(shared_folder, template):
    """Make a project from a version of the template, with its history; the same one is rendered once."""

    def get(folder, version, answers):
        kept = shared_folder / hashlib.sha256(f"{version} {sorted(answers.items())}".encode()).hexdigest()[:16]
        with only_once(kept) as needed:
            if needed:
                copy(kept, answers, template=template, version=version)
                git(kept, "init", "--quiet")
                commit(kept, "Start")
        return shutil.copytree(kept, folder, symlinks=True)

    return get


def live_in(project):
    """Do what an owner does in a year, and return the lines that have to be there after any update, by file."""
    mine = {}
    for file, line, behind in ADDED:
        path = project / file
        if not path.exists():  # an older version had none
            continue
        text = path.read_text()
        path.write_text(text.replace(f"{behind}\n", f"{behind}\n{line}\n", 1) if behind else f"{text}{line}\n")
        mine[file] = line
    for file in DELETED:
        (project / file).unlink(missing_ok=file == CHANGED_FIX)  # an older version had none
    (project / "README.md").write_text(README)
    (project / "my_reflex_app/pages/shop.py").write_text("# mine: a page\n")
    mine |= {"README.md": README.strip(), "my_reflex_app/pages/shop.py": "# mine: a page"}
    commit(project, "Make it mine")
    return mine


def clash(old, mine, new):
    """Ask git itself whether two changes of one text touch the same lines."""
    if old.read_bytes() in (mine.read_bytes(), new.read_bytes()):  # nine files of ten: no git needed
        return False
    return run("git", "merge-file", "-p", "--quiet", mine, old, new, cwd=mine.parent).returncode != 0


def inevitable(old, project, new):
    """List the files that both the owner and the update have changed at the same lines."""
    found = set()
    theirs = {".copier-answers.yml", "deploy/env.yaml", "deploy/secrets.yaml"}  # an update leaves these alone
    for file in contents(project):
        three = [folder / file for folder in (old, project, new)]
        if file not in theirs and all(path.exists() for path in three) and clash(*three):
            found.add(file)
    return found


def conflicts(project):
    return set(git(project, "diff", "--name-only", "--diff-filter=U").split())


def test_updates_from_every_earlier_version_are_tested():
    """Once a version is released, its tag and its commit (`git rev-list -n 1 v0.2.0`) belong into RELEASES."""
    listed = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    earlier = listed[listed.index(version_of_this_commit()) + 1 :]
    assert [f"v{version}" for version in earlier] == [*reversed(RELEASES)]


@pytest.mark.parametrize("version", [*RELEASES, "v98.0.0"])
@pytest.mark.parametrize("answers", COMBINATIONS, ids=name)
def test_a_lived_in_project_is_updated(answers, version, rendered, tmp_path):
    old = rendered(tmp_path / "old", version, answers)
    new = rendered(tmp_path / "new", NEXT, answers)
    project = rendered(tmp_path / "project", version, answers)
    mine = live_in(project)
    expected = inevitable(old, project, new)
    must_copier("update", "--quiet", "--defaults", cwd=project)

    lost = [file for file, line in mine.items() if line not in (project / file).read_text()]
    needless = conflicts(project) - expected
    with (CACHE / "updates").open("a") as counts:
        counts.write(f"{len(mine)} {len(lost)} {len(expected)} {len(needless)}\n")
    assert (lost, needless) == ([], set())
    if version == "v98.0.0":
        assert expected == set(), "a small fix meets none of these changes"
    marks = re.compile(r"^<<<<<<< .*?^=======$.*?^>>>>>>> ", re.MULTILINE | re.DOTALL)
    for file in expected:
        assert marks.search((project / file).read_text()), file

    assert "grace_period 6s" in (project / "production/caddy/options.caddy").read_text(), "the fix"
    assert "# theirs" not in (project / "my_reflex_app/state.py").read_text()
    kept = [file for file in DELETED if file != CHANGED_FIX or version not in RELEASES]
    assert [file for file in kept if (project / file).exists()] == []
    assert run("git", "diff", "--quiet", "HEAD", "--", "my_reflex_app", "assets", cwd=project).returncode == 0

    if version == next(iter(RELEASES)):  # from here on the projects of all versions are at the same one
        commit(project, "Update")
        must_copier("update", "--quiet", "--defaults", cwd=project)
        assert git(project, "status", "--porcelain") == "", "a second update changes nothing"


@pytest.mark.long
@pytest.mark.parametrize("version", [next(reversed(RELEASES)), "v98.0.0"])
def test_an_adopted_app_is_updated_and_served(version, template, tmp_path):
    shop = copy_of("bookshop", tmp_path / "shop")
    options = (f"--vcs-ref={version}", "--data=starter=false", "--data=app_name=bookshop")
    must_copier("copy", "--quiet", "--defaults", *options, template, ".", cwd=shop)
    if version in RELEASES:
        # What its README asked for: the file under another name, pinned versions in its place, a line in rxconfig.py.
        (shop / "requirements.txt").rename(shop / "requirements.in")
        (shop / "requirements.txt").write_text("# Written by scripts/lock\nhumanize==4.12.1 \\\n    --hash=sha256:0\n")
        config = shop / "rxconfig.py"
        text = config.read_text().replace("SitemapPlugin()]", "SitemapPlugin(), ProductionPlugin()]")
        config.write_text(f"from production import ProductionPlugin\n{text}")
    (shop / "deploy/teardown").unlink()
    with (shop / "cloudbuild.yaml").open("a") as build_config:
        build_config.write("# mine\n")
    commit(shop, "Adopt")
    own = [
        file for file in git(shop, "ls-files").split() if file.startswith(("bookshop", "assets", "rxconfig", "README"))
    ]
    before = digest(shop, own)
    must_copier("update", "--quiet", "--defaults", "--data=server=granian", cwd=shop)
    assert conflicts(shop) == set()
    assert digest(shop, own) == before
    assert not (shop / "deploy/teardown").exists()
    assert "# mine" in (shop / "cloudbuild.yaml").read_text()
    lock(shop)
    build(shop, ".")
    with Served(shop) as served:
        assert b"<title>Bookshop</title>" in served.ready().get("/")[2]
        assert "granian" in served.log.lower()


@pytest.mark.long
def test_a_lived_in_project_gets_a_database(rendered, tmp_path):
    project = rendered(tmp_path / "project", "v98.0.0", {})
    mine = live_in(project)
    git(project, "checkout", "HEAD~1", "--", *DELETED)  # with these the app runs
    commit(project, "Restore what it needs")
    must_copier("update", "--quiet", "--defaults", "--data=database=postgres", cwd=project)
    assert [file for file, line in mine.items() if line not in (project / file).read_text()] == []
    assert not (project / "my_reflex_app/models.py").exists(), "the app is its owner's"
    assert conflicts(project) <= {"README.md"}, "which its owner has replaced as a whole"
    build(project)
    done = run(".venv/bin/python", "-m", "production.migrate", cwd=project)
    assert (done.returncode, "the app has no models" in done.stdout) == (0, True), done.stdout
    with Served(project) as served:
        assert served.ready().get("/")[0] == 200


def test_a_file_that_moved_is_named_and_its_changes_are_kept(rendered, tmp_path):
    project = rendered(tmp_path / "project", "v0.2.0", {})
    live_in(project)
    said = must_copier("update", "--defaults", cwd=project)
    remove = said.rstrip().splitlines()[-1].split()
    assert "# mine: a flag" in (project / "deploy/candidate").read_text()
    assert "# mine: a flag" not in (project / "deploy/build/candidate").read_text()
    commit(project, "Update")
    git(project, *remove[1:])
    commit(project, "Remove what moved")
    there = {path.name for path in (project / "deploy").iterdir()}
    commands = {"back", "check", "domain", "logs", "now", "setup", "teardown"}
    assert there == commands | {"README.md", "build", "lib", "env.yaml", "secrets.yaml"}
    must_copier("update", "--defaults", cwd=project)
    assert git(project, "status", "--porcelain") == "", "they stay removed"


def contents(project):
    """Read everything but the app, which is the owner's, and the answers' origin."""
    theirs = ("my_reflex_app/", "assets/", "tests/test_pages.py", "tests/test_state.py")
    return {
        file: (project / file).read_text()
        for file in git(project, "ls-files", "--cached", "--others", "--exclude-standard").split("\n")
        if file and not file.startswith(theirs) and (project / file).exists()
    }


CHANGES = [
    *(({"server": before}, {"server": after}) for before, after in itertools.permutations(SERVERS, 2)),
    ({}, {"region": "europe-west1"}),
    ({"region": "europe-west1"}, {"region": "us-central1"}),
    ({}, {"state_store": "redis"}),
    ({"state_store": "redis"}, {"state_store": "disk"}),
    ({"state_store": "redis", "workers": 4, "max_instances": 3}, {"state_store": "disk"}),
    ({"server": "gunicorn", "max_requests": 1000}, {"server": "granian"}),
    ({}, {"startup": "backend-first"}),
    ({}, {"github_actions": "false"}),
    ({"github_actions": "false"}, {"github_actions": "true"}),
]


@pytest.mark.parametrize(("before", "after"), CHANGES, ids=str)
def test_another_answer_is_the_same_as_a_fresh_project(before, after, rendered, tmp_path):
    changed = rendered(tmp_path / "changed", "v98.0.0", before)
    mine = {}
    for file, line in (("Caddyfile", "# mine"), ("Dockerfile", "# mine"), ("start.sh", "# mine")):
        path = changed / file
        path.write_text(f"{path.read_text()}{line}\n")
        mine[file] = line
    commit(changed, "Make it mine")
    data = [f"--data={key}={value}" for key, value in after.items()]
    must_copier("update", "--quiet", "--defaults", "--vcs-ref=v98.0.0", *data, cwd=changed)
    assert conflicts(changed) == set()

    kept = {} if "state_store" in after and after["state_store"] == "disk" else before
    kept = {key: value for key, value in kept.items() if key != "max_requests"}
    fresh = contents(rendered(tmp_path / "fresh", "v98.0.0", kept | after))
    for file, line in mine.items():
        fresh[file] += f"{line}\n"
    assert contents(changed) == fresh


def test_a_wrong_answer_changes_nothing(rendered, tmp_path):
    project = rendered(tmp_path / "project", "v98.0.0", {})
    done = copier("update", "--defaults", "--data=threads=many", cwd=project)
    assert done.returncode != 0
    assert "1 to 256" in done.stdout
    assert git(project, "status", "--porcelain") == ""


class TestWaysToAnswer:
    def test_a_file_of_answers(self, template, tmp_path):
        answers = {"project_name": "Tea Shop", "server": "uvicorn", "threads": 8, "public": False}
        (tmp_path / "answers.yml").write_text(yaml.safe_dump(answers))
        options = ("--defaults", "--quiet", "--data-file", tmp_path / "answers.yml")
        must_copier("copy", *options, template, tmp_path / "project", cwd=tmp_path)
        kept = yaml.safe_load((tmp_path / "project/.copier-answers.yml").read_text())
        assert {key: kept[key] for key in answers} == answers

    def test_pretending_writes_nothing(self, rendered, template, tmp_path):
        must_copier("copy", "--defaults", "--pretend", template, tmp_path / "project", cwd=tmp_path)
        assert not (tmp_path / "project").exists()
        project = rendered(tmp_path / "lived", "v98.0.0", {})
        must_copier("update", "--defaults", "--pretend", cwd=project)
        assert git(project, "status", "--porcelain") == ""

    def test_nobody_at_the_keyboard_and_no_defaults_ends_with_a_hint(self, template, tmp_path):
        done = copier("copy", template, tmp_path / "project", cwd=tmp_path)
        assert done.returncode != 0
        assert "--defaults" in done.stdout
        assert not (tmp_path / "project").exists()

    def test_a_copy_and_an_update_end_with_the_next_two_commands(self, template, tmp_path):
        said = must_copier("copy", "--defaults", "--vcs-ref=v98.0.0", template, "my project", cwd=tmp_path)
        assert said.rstrip().endswith("Next:\n  cd 'my project'\n  scripts/serve")
        git(tmp_path / "my project", "init", "--quiet")
        commit(tmp_path / "my project", "Start")
        said = must_copier("update", "--defaults", cwd=tmp_path / "my project")
        assert "Next:\n  git diff\n  scripts/test\n" in said


@pytest.mark.long
def test_a_conflict_in_the_pins_is_settled_by_scripts_lock(project):
    made = project()
    git(made, "init", "--quiet")
    commit(made, "Start")
    pins = made / "requirements.txt"
    whole = pins.read_text()
    first = whole.index("anyio==")
    for branch in ("mine", "theirs"):
        git(made, "switch", "--quiet", "--create", branch, "main")
        pins.write_text(f"{whole[:first]}# {branch}\n{whole[first:]}")
        commit(made, f"Change it as {branch}")
    assert run("git", "merge", "mine", cwd=made, GIT_COMMITTER_NAME="A", GIT_COMMITTER_EMAIL="a@b.c").returncode != 0
    assert "<<<<<<<" in pins.read_text()
    (made / ".venv").unlink()  # the tests share it, and scripts/lock installs
    must_run("scripts/lock", cwd=made)
    assert "<<<<<<<" not in pins.read_text()
    assert pins.read_text().count("anyio==") == 1
