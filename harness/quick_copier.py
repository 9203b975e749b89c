"""Copier without what it does again for each file or command: imported wherever the tests run it.

Most of its time goes into compiling the template's expressions and reading its questions, which hardly differ from one
command to the next, and a command of git for each file asks whether the project's repository keeps executable bits.
Then it clones the template with some twenty processes of git, each time the same files.
"""

import copy
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from types import CodeType

from copier import _template
from copier._main import Worker
from copier._user_data import DEFAULT_DATA, AnswersMap
from copier._vcs import get_git
from jinja2 import Environment
from plumbum import ProcessExecutionError

from harness.caches import only_once

compile_template = Environment.compile
compiled: dict[tuple, CodeType] = {}
load_template_config = _template.load_template_config
loaded: dict[tuple, dict] = {}
clone = _template.clone
sync_executable_bit = Worker._sync_git_index_executable_bit  # noqa: SLF001
ignores_bits: dict[Path, bool] = {}


def compile_once(self: Environment, source: str, name: str | None = None, *options: object) -> CodeType:
    """Compile a template as Jinja does, unless the same source was compiled with the same extensions."""
    key = (source, name, options[1:], tuple(self.extensions), tuple(self.filters), self.keep_trailing_newline)
    if key not in compiled:
        compiled[key] = compile_template(self, source, name, *options)
    return compiled[key]


def load_once(file: Path, *options: object) -> dict:
    """Load the questions as Copier does, unless the same files were loaded before."""
    key = tuple(path.read_bytes() for path in sorted(file.parent.glob("*.yml")))
    if key not in loaded:
        loaded[key] = load_template_config(file, *options)
    return copy.deepcopy(loaded[key])


def clone_once(url: str, ref: str = "HEAD", location: str | None = None) -> str:
    """Clone a template as Copier does, unless the same commit was cloned before: then link to those files.

    Copier reads a clone and removes it; git replaces a file that it changes.
    """
    git = get_git()
    if not (location and Path(url).is_dir()) or git("-C", url, "status", "--porcelain").strip():
        return clone(url, ref, location)
    what = "\n".join([url, ref, git("-C", url, "rev-parse", "HEAD"), git("-C", url, "show-ref")])
    kept = Path(tempfile.gettempdir()) / f"clones-{os.getuid()}" / hashlib.sha256(what.encode()).hexdigest()[:16]
    with only_once(kept) as needed:
        if needed:
            clone(url, ref, str(kept))
    shutil.copytree(kept, location, symlinks=True, copy_function=os.link, dirs_exist_ok=True)
    return location


def combine(self: AnswersMap) -> dict:
    """Combine answers as Copier does, without asking each of their sources for each name, 1,500 times a command."""
    external = {"_external_data": self.external}
    return DEFAULT_DATA | external | self.user_defaults | self.last | self.metadata | self.init | self.user


def ask_once(self: Worker, file: Path, mode: int) -> None:
    """Set a file's bit in git's index as Copier does, which is only needed where git ignores the file's own."""
    folder = self.subproject.local_abspath
    if folder not in ignores_bits:
        try:
            said = get_git(context_dir=folder)("config", "--type=bool", "--get", "core.fileMode")
        except ProcessExecutionError:
            said = ""
        ignores_bits[folder] = said.strip() == "false"
    if ignores_bits[folder]:
        sync_executable_bit(self, file, mode)


Environment.compile = compile_once
_template.load_template_config = load_once
_template.clone = clone_once
AnswersMap.combined = property(combine)
Worker._sync_git_index_executable_bit = ask_once  # noqa: SLF001
