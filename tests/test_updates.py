"""`copier update` brings a fix and leaves the owner's work alone."""

import subprocess

import pytest
from house import ROOT, must_run
from variants import SERVERS

#: Where the owner adds a line: the way to production, the app and its tests.
TOUCHED = [
    "Dockerfile",
    "Caddyfile",
    "start.sh",
    "cloudbuild.yaml",
    "my_reflex_app/state.py",
    "tests/test_state.py",
]


def git(folder, *arguments):
    person = ("-c", "user.name=A Person", "-c", "user.email=person@example.com")
    return subprocess.run(["git", *person, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder, message):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


def add_line(file, line):
    file.write_text(f"{file.read_text()}{line}\n")


@pytest.fixture
def template(tmp_path):
    """A copy of this repository at its last commit, released as 0.1.0."""
    git(tmp_path, "clone", "--quiet", ROOT, "template")
    git(tmp_path / "template", "tag", "v0.1.0")
    return tmp_path / "template"


@pytest.mark.parametrize("server", SERVERS)
def test_an_update_brings_the_fix_and_keeps_the_owners_work(server, template, tmp_path):
    lived_in = tmp_path / "lived-in"
    must_run("copier", "copy", "--quiet", "--defaults", template, lived_in, cwd=tmp_path)
    git(lived_in, "init", "--quiet")
    commit(lived_in, "Start")
    for file in TOUCHED:
        add_line(lived_in / file, "# mine")
    (lived_in / "my_reflex_app/pages/about.py").unlink()
    (lived_in / "README.md").write_text("# My own words\n")
    commit(lived_in, "Make it mine")

    caddyfile = template / "template" / "Caddyfile.jinja"
    caddyfile.write_text(caddyfile.read_text().replace("grace_period 3s", "grace_period 4s"))
    add_line(template / "template" / "{{ app_name }}" / "state.py.jinja", "# theirs")
    commit(template, "Fix something")
    git(template, "tag", "v0.2.0")
    must_run("copier", "update", "--quiet", "--defaults", "--data", f"server={server}", cwd=lived_in)

    assert "grace_period 4s" in (lived_in / "Caddyfile").read_text()
    assert f"export SERVER={server}" in (lived_in / "start.sh").read_text()
    for file in TOUCHED:
        assert (lived_in / file).read_text().endswith("# mine\n"), file
    assert "# theirs" not in (lived_in / "my_reflex_app/state.py").read_text()
    assert not (lived_in / "my_reflex_app/pages/about.py").exists()
    assert "# My own words\n" in (lived_in / "README.md").read_text()
    # Another server changes the README that was rewritten: the one place where both have touched the same lines.
    both = [] if server == "gunicorn" else ["UU README.md"]
    changed = git(lived_in, "status", "--porcelain").splitlines()
    assert [line for line in changed if line.startswith(("U", "?"))] == both
    commit(lived_in, "Update")
    must_run("copier", "update", "--quiet", "--defaults", cwd=lived_in)
    assert git(lived_in, "status", "--porcelain") == ""
