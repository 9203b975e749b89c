"""What is compared, and how its image is made: the one place that says so."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import engine
from house import ROOT, must_run

BENCH = ROOT / "bench"

Answers = dict[str, str | int]


@dataclass(frozen=True)
class Contender:
    """One way to run the default project."""

    name: str
    answers: Answers = field(default_factory=dict)
    folder: str = ""
    """Where the files of a reference are; empty: the template's own."""

    @property
    def image(self) -> str:
        """The name of its image."""
        return f"bench-{self.name.lower().replace(' ', '-').replace(',', '')}:bench"

    @property
    def redis(self) -> bool:
        """Whether it needs a Redis besides it."""
        return self.answers.get("state_store") == "redis"


ARTICLE = Contender("article", folder="article")
EXAMPLE = Contender("docker example", folder="docker_example")
DEFAULT = Contender("gunicorn")

CONTENDERS = [
    DEFAULT,
    Contender("uvicorn", {"server": "uvicorn"}),
    Contender("granian", {"server": "granian"}),
    Contender("reflex", {"server": "reflex"}),
    Contender("gunicorn, backend first", {"startup": "backend-first"}),
    Contender("gunicorn, redis", {"state_store": "redis"}),
    Contender("gunicorn, redis, 2 workers", {"state_store": "redis", "workers": 2}),
    ARTICLE,
    EXAMPLE,
]


def project(contender: Contender, folder: Path) -> Path:
    """Render the default project for a contender; a reference gets its own files on top."""
    data = [f"--data={key}={value}" for key, value in contender.answers.items()]
    options = ("--quiet", "--defaults", "--overwrite", "--vcs-ref=HEAD")
    must_run("copier", "copy", *options, *data, ROOT, folder, cwd=ROOT)
    if contender.folder:
        shutil.copytree(BENCH / contender.folder, folder, dirs_exist_ok=True)
        (folder / ".dockerignore").write_text(".git\n.web\n.venv\n")
    return folder


def build(folder: Path, contender: Contender, *options: str) -> str:
    """Build a contender's image and return what the build printed."""
    return engine.docker(
        "build", "--progress=plain", *engine.network(), *options, "--tag", contender.image, ".", cwd=folder
    )
