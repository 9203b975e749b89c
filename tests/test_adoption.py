"""An app that already exists gets its way to production, and stays what it is."""

import os
import re
import signal
import subprocess

import pytest

from harness.apps import APPS, adopt, copy_of, lock
from harness.caches import ROOT, digest
from harness.commands import clean_environment, must_run, run
from harness.engine import Container, built
from harness.history import commit, git
from harness.installs import build
from harness.processes import end_session, until
from harness.projects import copier, must_copier
from harness.serving import Served, get
from harness.tcp_ports import free_port

FILES = sorted(
    str(path.relative_to(APPS / "bookshop"))
    for path in (APPS / "bookshop").rglob("*")
    if path.is_file() and path.suffix != ".pyc"
)
THEIRS = {
    "requirements-dev.txt": "pytest==8.4.2\n",
    ".gitignore": "*.sqlite\n",
    "pyproject.toml": "[tool.black]\nline-length = 79\n",
    "Dockerfile": "FROM scratch\n",
    "compose.yaml": "services: {}\n",
    "scripts/test": "#!/bin/sh\nexit 3\n",
    "tests/test_production.py": "assert True\n",
    ".github/workflows/test.yml": "on: push\n",
    "deploy/env.yaml": "A: b\n",
    "DEPLOY.md": "Ask Ada.\n",
}
"""Files that an app may have, and that a project has under the same name."""


@pytest.fixture
def shop(tmp_path):
    """Have a folder with an app of several pages, a database model and assets, and its history."""
    return copy_of("bookshop", tmp_path / "shop")


def test_its_own_files_are_kept_whatever_they_are_called(shop):
    for name, content in THEIRS.items():
        (shop / name).parent.mkdir(parents=True, exist_ok=True)
        (shop / name).write_text(content)
    before = digest(shop, [*FILES, *THEIRS])
    adopt(shop)
    assert digest(shop, [*FILES, *THEIRS]) == before
    for file in ("start.sh", "Caddyfile", "cloudbuild.yaml", "deploy/setup", ".copier-answers.yml"):
        assert (shop / file).exists()


PLACES = {
    "Dockerfile": "production/Dockerfile",
    "Caddyfile": "production/Caddyfile",
    "start.sh": "production/start.sh",
    "cloudbuild.yaml": "production/cloudbuild.yaml",
    "compose.yaml": "production/compose.yaml",
    ".dockerignore": "production/Dockerfile.dockerignore",
    ".gcloudignore": "production/.gcloudignore",
    "DEPLOY.md": "production/DEPLOY.md",
}
"""Where the project's file goes if the app has one of this name."""


@pytest.mark.parametrize("package", ["production", "cloud_run"])
def test_each_file_of_a_name_that_the_project_has_too_is_named_with_what_is_used(package, shop):
    places = {file: place.replace("production", package) for file, place in PLACES.items()}
    if package == "cloud_run":
        places["production"] = "cloud_run/"
        (shop / "production").mkdir()
        (shop / "production/__init__.py").write_text("RATE = 1\n")
    for file in PLACES:
        (shop / file).write_text("theirs\n")
    said = adopt(shop)
    for file, place in places.items():
        assert f"{file} is yours and stays. The deployment uses {place}." in said
        assert (shop / place).exists()
    assert {(shop / file).read_text() for file in PLACES} == {"theirs\n"}
    assert "uvx copier update --data 'own_files=[]'" in said
    commit(shop, "Adopt")
    must_copier("update", "--defaults", "--quiet", "--vcs-ref=HEAD", cwd=shop)
    assert git(shop, "status", "--porcelain") == "", "an update sees the same files as the owner's"


def test_the_projects_file_is_used_once_the_owner_has_renamed_theirs(shop):
    (shop / "Dockerfile").write_text("FROM scratch\n")
    adopt(shop)
    commit(shop, "Adopt")
    (shop / "Dockerfile").rename(shop / "Dockerfile.mine")
    commit(shop, "Rename mine")
    must_copier("update", "--defaults", "--quiet", "--vcs-ref=HEAD", "--data=own_files=[]", cwd=shop)
    assert "caddy" in (shop / "Dockerfile").read_text()
    assert not (shop / "production/Dockerfile").exists()


@pytest.mark.long
@pytest.mark.slow
def test_an_app_with_files_of_these_names_is_served_from_its_image_as_it_is(shop):
    for file in PLACES:
        (shop / file).write_text("nothing that works\n")
    (shop / "production").mkdir()
    (shop / "production/__init__.py").write_text("RATE = 1\n")
    adopt(shop)
    lock(shop)
    build(shop, ".")
    with Served(shop, start="cloud_run/start.sh") as app:
        assert b"<title>Bookshop</title>" in app.ready().get("/")[2]
    with Container(built(shop), REFLEX_DB_URL="sqlite:////tmp/shop.db") as container:
        assert b"<title>Bookshop</title>" in get(container.ready().url)[2]


def test_who_does_not_say_so_is_asked_about_each_file(shop):
    """Copier asks before it replaces a file, and ends where there is no terminal to ask on."""
    before = digest(shop, FILES)
    done = copier("copy", "--defaults", "--vcs-ref=HEAD", "--data=app_name=bookshop", ROOT, ".", cwd=shop)
    assert done.returncode != 0
    assert "conflict" in done.stdout
    assert digest(shop, FILES) == before


def test_nothing_is_put_into_the_app(shop):
    adopt(shop)
    assert {
        str(path.relative_to(shop))
        for name in ("bookshop", "assets", "tests")
        for path in (shop / name).rglob("*")
        if path.is_file()
    } == {file for file in FILES if file.startswith(("bookshop", "assets"))}
    assert not (shop / "pyproject.toml").exists()


def test_a_copy_tells_what_is_left_to_do(shop):
    said = adopt(shop)
    assert "scripts/serve" in said
    assert "DEPLOY.md" in said


def test_an_app_that_says_nowhere_what_it_needs_is_told(shop):
    (shop / "requirements.txt").unlink()
    adopt(shop)
    tools = shop / ".venv/bin"
    tools.mkdir(parents=True)
    (tools / "python").symlink_to("/usr/bin/env")
    wanted = must_run("sha256sum", "production/requirements-tools.lock", cwd=shop).split()[0]
    (shop / ".venv/requirements.sha256").write_text(f"{wanted}\n")
    done = run("scripts/bootstrap", cwd=shop)
    assert done.returncode == 1
    assert "write them into requirements.txt" in done.stdout


@pytest.mark.long
@pytest.mark.slow
def test_two_commands_from_an_app_to_a_served_page(shop):
    adopt(shop)
    port = free_port()
    log = shop / "serve.log"
    environment = clean_environment(PORT=str(port), BACKEND_PORT=str(free_port()))
    with log.open("w") as output:
        serve = subprocess.Popen(
            ["scripts/serve"], cwd=shop, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        until(lambda: "ready on port" in log.read_text() or serve.poll() is not None, 300)
        assert serve.poll() is None, log.read_text()
        assert b"<title>Bookshop</title>" in get(f"http://localhost:{port}/")[2]
        os.kill(serve.pid, signal.SIGTERM)
        assert serve.wait(15) == 0
    finally:
        end_session(serve)
    done = run("scripts/test", cwd=shop)
    assert done.returncode == 0, done.stdout
    for part in ("page", "ping", "event"):
        assert f"trial: {part}: passed" in done.stdout
    # Style is checked where the owner has settings for it, and in nothing but what is theirs.
    (shop / ".ruff.toml").write_text('[lint]\nselect = ["F", "D", "I"]\n')
    (shop / "theirs.py").write_text('"""Theirs."""\n\nimport os\n')
    done = run("scripts/test", cwd=shop)
    assert done.returncode == 1
    assert "theirs.py" in done.stdout
    assert not re.search(r"--> (production|deploy)", done.stdout)


def test_a_folder_without_an_app_gets_nothing(tmp_path):
    said = adopt(tmp_path)
    assert "Nothing was written" in said
    assert "it has no rxconfig.py" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_reflex_that_is_too_old_is_named(tmp_path):
    app = copy_of("ordinary", tmp_path / "app")
    (app / "requirements.txt").write_text("reflex==0.7.4\n")
    adopt(app)
    done = run("scripts/lock", cwd=app)
    assert done.returncode == 1
    assert "Reflex 0.8 is the oldest that works. Ask for 'reflex>=0.8'" in done.stdout.splitlines()[-1]
    assert not (app / "production/requirements.lock").exists()
