"""What tests add to a starter."""

import shutil
from pathlib import Path

from harness.caches import ROOT
from harness.installs import build

STATES = "reflex___state____state.my_reflex_app___more_pages____"
"""What the names of the states in tests/programs/more_pages.py start with."""


def add(project: Path, program: str) -> None:
    """Add a program of tests/programs to a starter, by its function add_to."""
    shutil.copy(ROOT / f"tests/programs/{program}.py", project / "my_reflex_app")
    module = project / "my_reflex_app/my_reflex_app.py"
    module.write_text(f"{module.read_text()}\n\nfrom my_reflex_app.{program} import add_to\n\nadd_to(app)\n")


def with_more_pages(project: Path) -> Path:
    """Add more_pages.py to a starter and build its pages, which all tests of a run share."""
    add(project, "more_pages")
    build(project)
    return project
