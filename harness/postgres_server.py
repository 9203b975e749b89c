"""A real PostgreSQL on a Unix socket, as Cloud SQL offers one to a container; nowhere else."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.caches import CACHE, only_once
from harness.commands import must_run, run
from harness.processes import until

ANYWHERE = Path("/")


@dataclass
class Postgres:
    """A server that runs."""

    folder: Path
    binaries: Path

    @property
    def sockets(self) -> Path:
        """The folder of its socket, which a container may be given."""
        return self.folder / "sockets"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as the administrator and return what it prints."""
        return must_run(
            *("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"),
            *(f"--host={self.sockets}", "--username=postgres", f"--dbname={database}", f"--command={statement}"),
            cwd=ANYWHERE,
        ).strip()

    def dump(self) -> str:
        """Write down all databases and users, as statements for another server."""
        return must_run("pg_dumpall", f"--host={self.sockets}", "--username=postgres", cwd=ANYWHERE)

    def load(self, statements: str) -> None:
        """Become a copy of the server that was written down."""
        file = self.folder / "dump.sql"
        file.write_text(statements)
        must_run("psql", "--quiet", f"--host={self.sockets}", "--username=postgres", f"--file={file}", cwd=ANYWHERE)

    def url(self, database: str = "postgres") -> str:
        """Give its address, for the administrator."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.sockets}&connect_timeout=5"

    def start(self) -> None:
        """Start it, or start it again."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self.sockets} -c fsync=off"
        self.control("start", "--wait", f"--log={self.folder / 'log'}", f"--options={options}")

    def stop(self) -> None:
        """Stop it, with everybody who is connected."""
        self.control("stop", "--mode=immediate")

    def control(self, *arguments: str) -> None:
        """Run pg_ctl."""
        # To a file: the server would keep a pipe open.
        with (self.folder / "control.log").open("a") as log:
            command = [*as_postgres(), self.binaries / "pg_ctl", f"--pgdata={self.folder / 'data'}", *arguments]
            done = subprocess.run(command, cwd=ANYWHERE, stdout=log, stderr=log, timeout=60, check=False)
        assert done.returncode == 0, (self.folder / "control.log").read_text()


def as_postgres() -> list[str]:
    """Give what a command of the server starts with: it refuses to run as root."""
    return ["runuser", "--user", "postgres", "--"] if os.geteuid() == 0 else []


def new_data(server: Postgres) -> None:
    """Give a server its empty databases: initdb takes a second, a copy of what it wrote hardly any time."""
    data = server.folder / "data"
    kept = CACHE / "postgres" / server.binaries.parent.name
    with only_once(kept) as needed:
        if needed:
            made = [*as_postgres(), server.binaries / "initdb", f"--pgdata={data}", "--username=postgres"]
            must_run(*made, "--auth=trust", "--no-sync", cwd=ANYWHERE)
            must_run("cp", "--archive", data, kept, cwd=ANYWHERE)
            return
    must_run("cp", "--archive", kept, data, cwd=ANYWHERE)


@contextlib.contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Run a new, empty PostgreSQL."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # a short name: a socket's path has at most 107 characters
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    server = Postgres(folder, binaries)
    folder.chmod(0o777)
    server.sockets.mkdir(mode=0o777)
    server.sockets.chmod(0o777)
    new_data(server)
    server.start()
    try:
        yield server
    finally:
        with contextlib.suppress(AssertionError):  # a test may have stopped it
            server.stop()
        until(lambda: run("pg_isready", f"--host={server.sockets}", cwd=ANYWHERE).returncode != 0, 15)
        shutil.rmtree(folder, ignore_errors=True)
