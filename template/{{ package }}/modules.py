"""Finds the modules of a folder, so that adding or deleting a file is all it takes to turn it on or off."""

from pathlib import Path
from types import ModuleType


def names_in(package: ModuleType) -> list[str]:
    """List the full names of a package's modules, in alphabetical order."""
    folder = Path(package.__file__).parent
    return [f"{package.__name__}.{file.stem}" for file in sorted(folder.glob("[!_]*.py"))]
