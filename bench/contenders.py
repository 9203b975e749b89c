"""What is compared, and how its image is made: the only place (ideas.py has the ideas)."""

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from harness import projects
from harness.caches import ROOT
from harness.servers import SERVERS

BENCH = ROOT / "bench"
IMAGES = "bench-*"
"""The names of all images that are made here."""

Answers = dict[str, str | int]


@dataclass(frozen=True)
class Edit:
    """A change of one file of a project."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Contender:
    """One way to run the default project."""

    name: str
    answers: Answers = field(default_factory=dict)
    folder: str = ""
    """Where the files of a reference are; empty: the template's own."""
    edits: tuple[Edit, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    """What its container finds in its environment in addition to the ports."""

    path: str = "/"
    """The page that the first event comes from."""

    revision: str = "HEAD"
    """Of the template, for `against.py`; HEAD is the files as they are now."""

    @property
    def image(self) -> str:
        """The name of its image."""
        return IMAGES.replace("*", re.sub("[^a-z0-9]+", "-", self.name.lower())) + ":bench"

    @property
    def needs_image(self) -> bool:
        """Whether it is a change of what is in the image."""
        return "python_version" in self.answers or any(edit.file == "Dockerfile" for edit in self.edits)

    @property
    def redis(self) -> bool:
        """Whether it also needs a Redis."""
        return self.answers.get("state_store") == "redis"

    @property
    def postgres(self) -> bool:
        """Whether it also needs a PostgreSQL."""
        return self.answers.get("database") == "postgres"


MANY_PAGES = """
class Ticks(rx.ComponentState):
    \"\"\"A number of each page's own.\"\"\"

    ticks: int = 0

    @classmethod
    def get_component(cls, **props):
        return rx.el.output(cls.ticks, **props)


for number in range(30):
    app.add_page(lambda: Ticks.create(), route=f"/page-{number}")
"""
"""Each page makes a state when it is evaluated, so that each is evaluated at every start."""

ARTICLE = Contender("article", folder="article")
# With `server: reflex` for the same packages: with gunicorn among them `reflex run` would take that instead of granian.
EXAMPLE = Contender("docker example", {"server": "reflex"}, folder="docker_example")
DEFAULT = Contender("gunicorn")
UVICORN = Contender("uvicorn", {"server": "uvicorn"})
GRANIAN = Contender("granian", {"server": "granian"})
REFLEX = Contender("reflex", {"server": "reflex"})
REDIS = Contender("gunicorn, redis", {"state_store": "redis"})
TWO_WORKERS = Contender("gunicorn, redis, 2 workers", {"state_store": "redis", "workers": 2})

POSTGRES = Contender("gunicorn, postgres", {"database": "postgres"}, path="/notes")
THIRTY_PAGES = Contender(
    "gunicorn, 30 pages with states",
    edits=(Edit("my_reflex_app/my_reflex_app.py", "app.add_page(not_found", f"{MANY_PAGES}app.add_page(not_found"),),
)

CONTENDERS = [
    DEFAULT,
    *(Contender(server, {"server": server}) for server in SERVERS if server != DEFAULT.name),
    Contender("gunicorn, backend first", {"startup": "backend-first"}),
    REDIS,
    TWO_WORKERS,
    ARTICLE,
    EXAMPLE,
]
COLD_STARTS = [POSTGRES, THIRTY_PAGES]
"""Those of which only the cold start is measured."""


def project(contender: Contender, folder: Path) -> Path:
    """Render the default project for a contender; a reference gets its own files on top, an idea its edits.

    Raises:
        ValueError: If an edit's place is not in the file any more.
    """
    projects.copy(folder, contender.answers, "--overwrite", version=contender.revision)
    if contender.folder:
        shutil.copytree(BENCH / contender.folder, folder, dirs_exist_ok=True)
        (folder / ".dockerignore").write_text(".git\n.web\n.venv\n")
    for edit in contender.edits:
        file = folder / edit.file
        text = file.read_text()
        if edit.old not in text:
            msg = f"{contender.name}: {edit.file} has no {edit.old!r} to change: bring bench/ideas.py up to date"
            raise ValueError(msg)
        file.write_text(text.replace(edit.old, edit.new))
    return folder
