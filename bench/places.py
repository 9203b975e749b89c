"""Where a contender runs: in a container of 1 CPU and 512 MiB, or as plain processes where there is no Docker Engine.

Where there are two cores the contender has the first one to itself and the client has the others.
"""

import contextlib
import os
import re
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.contenders import Contender, project
from bench.running import Running, RunningContainer, RunningProcesses, moment
from harness import commands, engine, installs, serving, tcp_ports
from harness.postgres_server import Postgres

Figures = dict[str, float | None]

CORES = os.cpu_count() or 1
PORT = "8080"
"""Where a contender listens. The references' pages have this port in them: without finish_build.py they would look for
the backend at another."""
PRODUCTION = {"__REFLEX_SKIP_COMPILE": "1", "REFLEX_ENV_MODE": "prod", "REFLEX_TELEMETRY_ENABLED": "false"}
"""What Python alone finds in its environment when it imports the app as a server would."""
SOURCE_MAPS = {"VITE_SOURCEMAP": "true", "REFLEX_USE_SYSTEM_BUN": "1"}


@dataclass
class Place(ABC):
    """One contender, and how it is made ready and run here."""

    contender: Contender
    folder: Path
    """Where its project is, or will be."""
    redis_url: str = ""
    postgres: Postgres | None = None

    name: ClassVar[str]
    builds_images: ClassVar[bool]

    @abstractmethod
    def prepare(self) -> None:
        """Make it ready to run."""

    def measured(self) -> Figures:
        """Make it ready to run, and tell what there is to measure about that."""
        self.prepare()
        return {}

    def migrate(self) -> None:
        """Create the tables that it needs."""
        if self.contender.postgres:
            commands.must_run(".venv/bin/python", "-m", "production.migrate", cwd=self.folder, **self.database)

    @property
    def database(self) -> dict[str, str]:
        """What its environment says of the database, if it needs one."""
        return {"REFLEX_DB_URL": self.postgres.url()} if self.contender.postgres and self.postgres else {}

    def surroundings(self) -> dict[str, str]:
        """Return what else the report has to say of this kind of place."""
        return {}

    @abstractmethod
    def start(self, variables: dict[str, str], cores: int) -> contextlib.AbstractContextManager[Running]:
        """Run it with those variables in its environment."""

    @abstractmethod
    def python(self, *arguments: str) -> str:
        """Run Python as the app would run, and give what it prints."""

    @abstractmethod
    def seconds(self, code: str) -> float:
        """Return how long Python takes from the first process's start to its end for some code."""

    @abstractmethod
    def with_source_maps(self, command: str) -> str:
        """Build the pages once more with source maps, run a shell's command there and give what it prints."""

    @contextlib.contextmanager
    def running(self, *, cores: int = 1, port: str = "", **environment: str) -> Iterator[Running]:
        """Run it.

        Args:
            cores: How many it may use.
            port: Where it listens, if not where all do: a second one at the same time.
            environment: More for the app.

        Raises:
            RuntimeError: If something else has the port: its answers would be measured.
        """
        port = port or PORT
        if tcp_ports.listens(int(port)):
            msg = f"port {port} is taken, and the contenders need it: stop what has it"
            raise RuntimeError(msg)
        ports = {"PORT": port, "BACKEND_PORT": str(tcp_ports.free_port()), "REDIS_PORT": str(tcp_ports.free_port())}
        redis = {"REFLEX_REDIS_URL": self.redis_url} if self.contender.redis else {}
        with self.start(ports | redis | self.database | self.contender.environment | environment, cores) as running:
            yield running


class InContainers(Place):
    """In a container of a Docker Engine, limited as Cloud Run's smallest instance."""

    name = "in containers of 1 CPU and 512 MiB"
    builds_images = True

    def prepare(self) -> None:
        """Build its image."""
        self.render()
        self.build()

    def measured(self) -> Figures:
        """Build its image without any cache and after a change of one line, and look at its size."""
        self.render()
        started = time.monotonic()
        self.build("--no-cache")
        clean = time.monotonic() - started
        index = self.folder / "my_reflex_app/pages/index.py"
        index.write_text(f"{index.read_text()}\nCHANGED = {time.time()}\n")  # nothing that an Engine has built before
        started = time.monotonic()
        said = self.build()
        rebuild = time.monotonic() - started
        steps = set(re.findall(r"^#(\d+) \[.*\] (?:RUN|COPY)", said, re.MULTILINE))
        base = re.search(r"^FROM (python:\S+)", (self.folder / "Dockerfile").read_text(), re.MULTILINE)[1]
        return {
            "image over its base, MB": (size(self.contender.image) - size(base)) / 1e6,
            "clean build, s": clean,
            "rebuild, s": rebuild,
            "steps of a rebuild": sum(f"#{step} CACHED" not in said for step in steps),
        }

    def surroundings(self) -> dict[str, str]:
        """Return which Engine it is, and which base images."""
        return {
            "engine": engine.docker("version", "--format", "{{.Server.Version}}").strip(),
            "bases": "made here from Debian's Python" if engine.stand_ins() else "the official images",
        }

    def render(self) -> None:
        """Make its project, and have the images that it starts from."""
        project(self.contender, self.folder)
        if not self.contender.folder:  # a reference starts from the same ones
            installs.install(self.folder)
            engine.bases(self.folder)

    def build(self, *options: str) -> str:
        """Build its image and return what the build printed."""
        print(f"building {self.contender.name}", flush=True)
        command = ("build", "--progress=plain", *engine.build_options(), *options, "--tag", self.contender.image, ".")
        return engine.docker(*command, cwd=self.folder)

    @contextlib.contextmanager
    def start(self, variables: dict[str, str], cores: int) -> Iterator[Running]:
        """Run its container."""
        # At the same path in the container, as Cloud Run has the socket of Cloud SQL.
        sockets = [f"--volume={self.postgres.sockets}:{self.postgres.sockets}"] if self.postgres else []
        with engine.Container(self.contender.image, *limits(cores), *sockets, **variables) as container:
            yield RunningContainer(container)

    def python(self, *arguments: str) -> str:
        """Run Python in its image."""
        return engine.docker(*self.in_image("--rm"), *arguments)

    def seconds(self, code: str) -> float:
        """Run Python in its image, by the Engine's clock."""
        container = engine.docker(*self.in_image("--detach"), "-c", code).split()[-1]
        engine.docker("wait", container)
        state = "{{.State.ExitCode}} {{.State.StartedAt}} {{.State.FinishedAt}}"
        status, begin, end = engine.docker("inspect", "--format", state, container).split()
        engine.docker("rm", container)
        if status != "0":
            msg = f"Python ended with {status}: {code}"
            raise RuntimeError(msg)
        return moment(end) - moment(begin)

    def with_source_maps(self, command: str) -> str:
        """Build the pages in the image that the Dockerfile builds them in."""
        image = self.contender.image.replace(":bench", ":pages")
        engine.docker("build", *engine.build_options(), "--target=pages", "--tag", image, ".", cwd=self.folder)
        variables = [f"--env={name}={value}" for name, value in SOURCE_MAPS.items()]
        export = "reflex export --frontend-only --no-zip >/dev/null"
        return engine.docker(
            "run", "--rm", "--network=host", "--entrypoint=sh", *variables, image, "-c", f"{export} && {command}"
        )

    def in_image(self, option: str) -> list[str]:
        """Give the docker command that runs Python, all but its arguments."""
        more = ["--user=0", "--network=host", "--memory=512m", *limits(1)]
        environment = [f"--env={name}={value}" for name, value in PRODUCTION.items()]
        return ["run", option, *more, *environment, "--entrypoint=python", self.contender.image]


class AsProcesses(Place):
    """By the start.sh of its project, as `scripts/serve` does."""

    name = "as plain processes on one core, without a limit of memory"
    builds_images = False

    def prepare(self) -> None:
        """Install its packages and build its pages."""
        print(f"building {self.contender.name}", flush=True)
        project(self.contender, self.folder)
        installs.build(self.folder)
        if self.contender.folder:  # a reference serves the pages from elsewhere, and nothing else of the build is left
            (self.folder / ".web/build/client").rename(self.folder / "site")
            shutil.rmtree(self.folder / ".web")
            (self.folder / ".web").mkdir()
        # As the image has it: without, each copy would compile at its start.
        commands.must_run(".venv/bin/python", "-m", "compileall", "-q", "-x", r"/\.(venv|web)/", ".", cwd=self.folder)

    @contextlib.contextmanager
    def start(self, variables: dict[str, str], cores: int) -> Iterator[Running]:
        """Run the start.sh of a copy, which forgets what it has written, on the first core or the first ones."""
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as folder:
            copy = shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
            started = time.time()
            with on_cores(cores):
                served = serving.Served(Path(copy), SITE=f"{copy}/site", **variables)
            with served:
                yield RunningProcesses(served, int(variables["PORT"]), started)

    def python(self, *arguments: str) -> str:
        """Run the Python of its project."""
        environment = PRODUCTION | {"PYTHONPATH": str(self.folder)}
        with on_cores(1):
            return commands.must_run(self.folder / ".venv/bin/python", *arguments, cwd=self.folder, **environment)

    def seconds(self, code: str) -> float:
        """Run the Python of its project, by the clock."""
        started = time.time()
        self.python("-c", code)
        return time.time() - started

    def with_source_maps(self, command: str) -> str:
        """Build the pages in a copy of its project."""
        copy = self.folder.with_name(f"{self.folder.name}-with-source-maps")
        shutil.copytree(self.folder, copy, symlinks=True)
        commands.must_run("scripts/build", cwd=copy, **SOURCE_MAPS)
        path = f"{copy / '.venv/bin'}:{os.environ['PATH']}"
        return commands.must_run("sh", "-c", command, cwd=copy, PATH=path)


def on_cores_of_the_client() -> None:
    """Leave the first core to the contenders, from now on, where there is another."""
    os.sched_setaffinity(0, range(1, CORES) if CORES > 1 else [0])


@contextlib.contextmanager
def on_cores(cores: int) -> Iterator[None]:
    """Have what is started meanwhile run on the first so many cores, whichever this process has."""
    everybody = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(min(cores, CORES)))
    try:
        yield
    finally:
        os.sched_setaffinity(0, everybody)


def limits(cores: int) -> list[str]:
    """Give the options of `docker run` for so many cores."""
    return [f"--cpus={cores}", f"--cpuset-cpus=0-{min(cores, CORES) - 1}"]


def size(image: str) -> int:
    """Return an image's size in bytes."""
    return int(engine.docker("image", "inspect", "--format", "{{.Size}}", image))


def choose(*, processes: bool) -> tuple[type[Place], bool]:
    """Choose where to run: in containers if an Engine runs or can be started, unless processes are asked for.

    Returns:
        The kind of place, and whether an Engine was started for it.
    """
    if processes:
        return AsProcesses, False
    try:
        return InContainers, engine.start(alone_with_it=True)
    except (AssertionError, OSError) as error:
        print(f"As plain processes: {str(error).splitlines()[0]}", flush=True)
        return AsProcesses, False
