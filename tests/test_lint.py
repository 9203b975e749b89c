"""Every file of every variant passes the linter of its kind."""

import pytest
import yaml
from house import ROOT, must_run
from servers import SERVERS
from variants import COMBINATIONS, VARIANTS, name

SHELL = [
    *("start.sh", "environment.sh"),
    *(f"scripts/{name}" for name in ("bootstrap", "build", "dev", "serve", "test", "lock")),
    *(f"deploy/{name}" for name in ("setup", "now", "check", "teardown", "lib/common.sh")),
    *(f"deploy/build/{name}" for name in ("image", "candidate", "traffic", "revision.sh")),
]


@pytest.mark.parametrize("answers", VARIANTS, ids=name)
class TestProject:
    def test_python(self, answers, render):
        project = render(answers)
        must_run("ruff", "check", "--no-cache", ".", cwd=project)
        must_run("ruff", "format", "--no-cache", "--check", "--diff", ".", cwd=project)

    def test_shell(self, answers, render):
        must_run(
            "shellcheck",
            "--enable=all",
            "--exclude=SC2250,SC2310,SC2312",
            "--external-sources",
            *SHELL,
            cwd=render(answers),
        )

    def test_dockerfile(self, answers, render):
        must_run("hadolint", "Dockerfile", cwd=render(answers))

    def test_cloud_build(self, answers, render):
        must_run("check-jsonschema", "--builtin-schema", "vendor.cloudbuild", "cloudbuild.yaml", cwd=render(answers))

    def test_yaml(self, answers, render):
        files = ["compose.yaml", "cloudbuild.yaml", ".copier-answers.yml", "deploy/env.yaml", "deploy/secrets.yaml"]
        must_run(
            "yamllint",
            "--strict",
            "-d",
            "{extends: relaxed, rules: {line-length: disable}}",
            *files,
            cwd=render(answers),
        )


@pytest.mark.slow
@pytest.mark.parametrize("answers", COMBINATIONS, ids=name)
def test_caddyfile(answers, project):
    made = project(answers, built=True)
    must_run(".venv/bin/caddy", "validate", "--config", "Caddyfile", "--adapter", "caddyfile", cwd=made)
    must_run(".venv/bin/caddy", "fmt", "--diff", "Caddyfile", cwd=made)


def test_workflows_of_a_project(project):
    made = project()
    must_run("git", "init", "-q", cwd=made)  # the linter finds the other workflows by the repository's root
    workflows = sorted((made / ".github/workflows").glob("*.yml"))
    assert [path.name for path in workflows] == ["deploy.yml", "test.yml", "update.yml"]
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
        must_run("shellcheck", "--enable=all", "--exclude=SC2250,SC2310,SC2312", ".ci/run", *scripts, cwd=ROOT)

    def test_yaml(self):
        rules = "{extends: relaxed, rules: {line-length: disable}}"
        must_run("yamllint", "--strict", "-d", rules, "copier.yml", "pins.yml", "servers.yml", ".github", cwd=ROOT)

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
