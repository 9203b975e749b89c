"""What the test processes share, in .cache/."""

import contextlib
import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep the other test processes out that lock the same file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def only_once(folder: Path) -> Iterator[bool]:
    """Let one test process at a time make a folder; yields whether it is still to be made."""
    done = folder.with_name(folder.name + ".done")
    with locked(folder.with_name(folder.name + ".lock")):
        if done.exists():
            yield False
            return
        shutil.rmtree(folder, ignore_errors=True)
        yield True
        done.touch()


def digest(project: Path, names: list[str], *more: str) -> str:
    """Sum up the content of files and folders of a project, and what else there is."""
    total = hashlib.sha256("\0".join(more).encode())
    for name in names:
        path = project / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and not {"__pycache__", ".git", ".venv", ".web"} & set(file.parts):
                total.update(f"{file.relative_to(project)}\0".encode() + file.read_bytes())
    return total.hexdigest()[:16]
