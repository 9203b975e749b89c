"""Imported where Copier's commands are forked from: the template is compiled there once, before."""

import gc
import tempfile
import warnings

import copier

from harness import quick_copier  # noqa: F401 - it changes Copier
from harness.caches import ROOT

with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
    warnings.simplefilter("ignore")
    copier.run_copy(str(ROOT), folder, defaults=True, quiet=True, vcs_ref="HEAD")
gc.freeze()  # a collection in a command would copy the memory that it shares
