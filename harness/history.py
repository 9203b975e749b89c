"""Git repositories as the tests of updates need them: this template with its released versions, and projects."""

import subprocess
from pathlib import Path

from harness.caches import ROOT
from harness.commands import clean_environment

RELEASES = {
    "v0.1.0": "1cc5fffedf1bca1c855e7953e5b509502ebdb5b3",
    "v0.2.0": "c66c87b206ca29eab8951a1bf6f4f4b516f52dcd",
}
"""The versions that projects out there were made from: the tag and the commit that it points to, oldest first."""

FIXED = "production/caddy/options.caddy"
"""The file of a project that `release_a_fix` changes."""

CHANGED_FIX = "production/fixes/open_tabs.py"
"""A workaround that `release_a_fix` changes."""

NEXT = "v99.0.0"
"""The tag of a version after this commit's, for a fix that a test makes."""


def git(folder: Path, *arguments: str | Path, **more: str) -> str:
    """Run git as a person with a name and return what it prints."""
    person = ("-c", "user.name=A Person", "-c", "user.email=person@example.com", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *person, *arguments],
        cwd=folder,
        env=clean_environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"git {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def commit(folder: Path, message: str) -> None:
    """Commit everything."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


def released(folder: Path) -> Path:
    """Make a copy of this repository in which each release has its tag, and this commit the newest."""
    git(folder, "clone", "--quiet", ROOT, "template")
    template = folder / "template"
    for tag, commit_id in RELEASES.items():
        git(template, "tag", "--force", tag, commit_id)
    git(template, "tag", "--force", "v98.0.0", "HEAD")
    return template


def release_a_fix(template: Path) -> None:
    """Release a version that changes one line of `FIXED`, one of `CHANGED_FIX` and one of the app."""
    options = template / "template/{{ package }}/caddy/options.caddy"
    options.write_text(options.read_text().replace("grace_period 4s", "grace_period 6s"))
    for workaround in template.glob("template/*/*fixes*/open_tabs.py"):
        workaround.write_text(f"{workaround.read_text()}# theirs\n")
    state = template / "template/{{ app_name }}/state.py.jinja"
    state.write_text(f"{state.read_text()}# theirs\n")
    commit(template, "Fix something")
    git(template, "tag", NEXT)
