"""Runs the shell steps of a GitHub workflow here, with a stand-in for `gh`, which would call GitHub's API."""

import json
import os
import re
from pathlib import Path

import yaml

from harness.caches import CACHE
from harness.commands import run

GH = """\
#!/usr/bin/env python3
import json, os, sys
with open(os.environ["GH_CALLS"], "a") as calls:
    print(json.dumps(sys.argv[1:]), file=calls)
if sys.argv[1] == "api":
    print(os.environ["GH_TEMPLATE"])
"""


class Runner:
    """A checkout of a repository on GitHub, and what its workflows called."""

    def __init__(self, checkout: Path, folder: Path, template: Path | None = None) -> None:
        """Prepare to run workflows.

        Args:
            checkout: The repository's clone.
            folder: An empty one, for the runner's own files.
            template: The repository that the button was used on; it stands for https://github.com/OWNER/REPOSITORY.
        """
        self.checkout, self.folder, self.template = checkout, folder, template
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "bin/gh").write_text(GH)
        (folder / "bin/gh").chmod(0o755)
        self.calls_file = folder / "calls"
        self.environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "GH_CALLS": str(self.calls_file),
            "GH_TEMPLATE": "OWNER/REPOSITORY" if template else "",
            "GITHUB_REPOSITORY": "somebody/tea-shop",
            "GITHUB_REF_NAME": "main",
            "GITHUB_SHA": "c0ffee",
            "RUNNER_TEMP": str(folder),
            "PIPX_HOME": str(CACHE / "pipx"),
            # Copier keeps a clone of what it was given by address, and the tests' templates all have the same one.
            "COPIER_CACHE_DIR": str(folder / "copier"),
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": f"url.{template}.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/OWNER/REPOSITORY",
            "GIT_CONFIG_KEY_1": f"url.{template}.insteadOf",
            "GIT_CONFIG_VALUE_1": "https://github.com/OWNER/REPOSITORY.git",
        }

    @property
    def calls(self) -> list[list[str]]:
        """What `gh` was called with."""
        return (
            [json.loads(line) for line in self.calls_file.read_text().splitlines()] if self.calls_file.exists() else []
        )

    def run(self, workflow: Path, job: str, **expressions: str) -> tuple[int, str]:
        """Run a job's shell steps in order, until one fails.

        Args:
            workflow: The file.
            job: The job's name.
            expressions: What GitHub would put in for expressions, by the name of the variable that gets it.

        Returns:
            The status of the last step, and everything that was printed.
        """
        config = yaml.safe_load(workflow.read_text())
        outputs: dict[str, str] = {}
        said = ""
        for step in config["jobs"][job]["steps"]:
            if "run" not in step or not self.applies(step.get("if", ""), outputs):
                continue
            output = self.folder / "output"
            output.write_text("")
            own = {
                name: self.fill(name, str(value), outputs, expressions) for name, value in step.get("env", {}).items()
            }
            script = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"])
            done = run(*script, cwd=self.checkout, **(self.environment | own | {"GITHUB_OUTPUT": str(output)}))
            said += done.stdout
            if done.returncode != 0:
                return done.returncode, said
            outputs |= {
                f"steps.{step.get('id')}.outputs.{name}": value
                for name, _, value in (line.partition("=") for line in output.read_text().splitlines())
            }
        return 0, said

    @staticmethod
    def applies(condition: str, outputs: dict[str, str]) -> bool:
        """Return whether a step runs; the only kind of condition is that an output is not empty."""
        return not condition or bool(outputs[condition.removesuffix(" != ''")])

    @staticmethod
    def fill(name: str, value: str, outputs: dict[str, str], expressions: dict[str, str]) -> str:
        """Put a value in for an expression."""
        expression = re.fullmatch(r"\$\{\{ (.*) \}\}", value)
        if not expression:
            return value
        return expressions.get(name, outputs.get(expression[1], "false" if "!=" in expression[1] else ""))
