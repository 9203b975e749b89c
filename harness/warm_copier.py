"""Imported where Copier's commands are forked from: what each of them would do again is done once, before.

Half of Copier's time goes into compiling the template's expressions, which hardly differ from one command to the next.
"""

import gc
import tempfile
import warnings
from types import CodeType

import copier
from house import ROOT
from jinja2 import Environment

compile_template = Environment.compile
compiled: dict[tuple, CodeType] = {}


def compile_once(self: Environment, source: str, name: str | None = None, *options: object) -> CodeType:
    """Compile a template as Jinja does, unless the same source was compiled with the same extensions."""
    key = (source, name, options[1:], tuple(self.extensions), tuple(self.filters), self.keep_trailing_newline)
    if key not in compiled:
        compiled[key] = compile_template(self, source, name, *options)
    return compiled[key]


Environment.compile = compile_once
with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
    warnings.simplefilter("ignore")
    copier.run_copy(str(ROOT), folder, defaults=True, quiet=True, vcs_ref="HEAD")
gc.freeze()  # a collection in a command would copy the memory that it shares
