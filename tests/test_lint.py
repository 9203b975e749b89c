"""Every file of every variant passes the linter of its kind."""

import re

import pytest
import yaml

from harness.caches import ROOT, digest, only_once
from harness.commands import must_run
from harness.servers import SERVERS
from tests.variants import COMBINATIONS, VARIANTS, name

#: The shell scripts of a project, with what each of them reads.
SHELL = {
    "start.sh": ["production/supervise.sh", "production/environment.sh"],
    "production/supervise.sh": [],
    "production/environment.sh": [],
    **{f"scripts/{name}": [] for name in ("bootstrap", "build", "dev", "serve", "test", "lock", "ci", "audit")},
    **{
        f"deploy/{name}": ["deploy/lib/common.sh"]
        for name in ("back", "check", "domain", "logs", "now", "restore", "setup", "teardown")
    },
    **{
        f"deploy/build/{name}": ["deploy/lib/common.sh", "deploy/build/revision.sh"]
        for name in ("candidate", "traffic")
    },
    "deploy/build/image": ["deploy/lib/common.sh"],
    "deploy/build/revision.sh": ["deploy/lib/common.sh"],
    "deploy/lib/alerts.sh": [],
    "deploy/lib/common.sh": [],
}


def shell_of(answers):
    """Leave out what a project with these answers does not have."""
    absent = set() if answers.get("database") == "postgres" else {"deploy/restore"}
    return {script: reads for script, reads in SHELL.items() if script not in absent}


SHELLCHECK = ["shellcheck", "--enable=all", "--exclude=SC2250,SC2310,SC2312", "--external-sources"]
YAMLLINT = ["yamllint", "--strict", "-d", "{extends: relaxed, rules: {line-length: disable}}"]


@pytest.fixture
def passes(shared_folder):
    """Run a linter on files of a project, unless the same files of another variant have passed it in this run."""

    def check(project, command, files, reads=()):
        # Of what a script reads, the names count and not their values, in which nearly all variants differ.
        named = [re.sub(r"=(?!\()\S*", "=", (project / file).read_text()) for file in reads]
        done = shared_folder / "linted" / digest(project, files, *named, *command)
        with only_once(done) as needed:
            if needed:
                must_run(*command, *files, cwd=project)

    return check


@pytest.mark.parametrize("answers", VARIANTS, ids=name)
class TestProject:
    def test_python(self, answers, render):
        project = render(answers)
        must_run("ruff", "check", "--no-cache", ".", cwd=project)
        must_run("ruff", "format", "--no-cache", "--check", "--diff", ".", cwd=project)

    def test_shell(self, answers, render, passes):
        for script, reads in shell_of(answers).items():
            passes(render(answers), SHELLCHECK, [script], reads)

    def test_every_shell_script_is_checked(self, answers, render):
        project = render(answers)
        scripts = {
            str(path.relative_to(project))
            for folder in (".", "production", "scripts", "deploy", "deploy/build", "deploy/lib")
            for path in (project / folder).iterdir()
            if path.is_file() and (path.suffix == ".sh" or path.read_bytes().startswith(b"#!/usr/bin/env bash"))
        }
        assert scripts == shell_of(answers).keys()

    def test_dockerfile(self, answers, render, passes):
        passes(render(answers), ["hadolint"], ["Dockerfile"])

    def test_cloud_build(self, answers, render, passes):
        passes(render(answers), ["check-jsonschema", "--builtin-schema", "vendor.cloudbuild"], ["cloudbuild.yaml"])

    def test_yaml(self, answers, render, passes):
        for file in (
            "compose.yaml",
            "cloudbuild.yaml",
            ".copier-answers.yml",
            "deploy/env.yaml",
            "deploy/secrets.yaml",
        ):
            passes(render(answers), YAMLLINT, [file])
        passes(render(answers), ["check-jsonschema", "--builtin-schema", "vendor.compose-spec"], ["compose.yaml"])


@pytest.mark.slow
@pytest.mark.parametrize("answers", COMBINATIONS, ids=name)
def test_caddyfile(answers, render, project, shared_folder):
    with only_once(shared_folder / "linted" / digest(render(answers), ["Caddyfile", "production/caddy"])) as needed:
        if needed:
            made = project(answers, built=True)
            must_run(".venv/bin/caddy", "validate", "--config", "Caddyfile", "--adapter", "caddyfile", cwd=made)
            for file in ("Caddyfile", *(f"production/caddy/{name}.caddy" for name in ("options", "backend", "site"))):
                must_run(".venv/bin/caddy", "fmt", "--diff", file, cwd=made)


def test_workflows_of_a_project(project):
    made = project()
    must_run("git", "init", "-q", cwd=made)  # the linter finds the other workflows by the repository's root
    workflows = sorted((made / ".github/workflows").glob("*.yml"))
    assert [path.name for path in workflows] == ["deploy.yml", "staging.yml", "test.yml", "update.yml"]
    must_run("jactionlint", *workflows, cwd=made)
    must_run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows, cwd=made)


class TestTemplate:
    def test_python(self):
        must_run("ruff", "check", ".", cwd=ROOT)
        must_run("ruff", "format", "--check", "--diff", ".", cwd=ROOT)

    def test_shell(self):
        scripts = [
            path for path in (ROOT / "scripts").iterdir() if path.is_file() and b"env bash" in path.read_bytes()[:20]
        ]
        must_run(*SHELLCHECK, ".ci/run", *scripts, cwd=ROOT)

    def test_yaml(self):
        must_run(*YAMLLINT, "copier.yml", "pins.yml", "servers.yml", ".github", cwd=ROOT)

    def test_workflows(self):
        workflows = sorted((ROOT / ".github/workflows").glob("*.yml"))
        must_run("jactionlint", *workflows, cwd=ROOT)
        must_run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows, cwd=ROOT)

    def test_a_projects_workflows_stand_here_too(self):
        """Byte for byte: in a repository that GitHub's button made, a workflow cannot create or change them."""
        for theirs in (ROOT / "template/{% if github_actions %}.github{% endif %}/workflows").iterdir():
            assert (ROOT / ".github/workflows" / theirs.name).read_bytes() == theirs.read_bytes()

    def test_the_form_offers_what_the_questions_offer(self):
        """GitHub shows at most 10 inputs, so that the last one takes all other answers."""
        form = yaml.safe_load((ROOT / ".github/workflows/update.yml").read_text())[True]["workflow_dispatch"]["inputs"]
        text = (ROOT / "copier.yml").read_text().rpartition("\n---\n")[2]
        questions = yaml.safe_load(text)
        assert len(form) == 10
        for answer in form.keys() - {"more"}:
            choices = SERVERS if answer == "server" else questions[answer].get("choices", [])
            values = list(choices.values()) if isinstance(choices, dict) else choices
            if form[answer]["type"] == "choice":
                assert form[answer]["options"] == ["", *(str(value).lower() for value in values)]
            assert form[answer]["description"].startswith(questions[answer]["help"].partition("?")[0])
