"""What a rendered project contains, for every variant: its own choices, and no trace of others or of the template."""

import json
import os
import re

import pytest
import yaml
from google.cloud.devtools import cloudbuild_v1

from harness.google_cloud import builds as cloud_build
from harness.servers import SERVERS, TABLE
from tests.variants import COMBINATIONS, HOSTILE_NAMES, VARIANTS, name

#: The files that have the project's name or description in them.
NAMED = {"README.md", "settings.py", "pyproject.toml", ".copier-answers.yml"}


def files(project):
    return [
        path
        for path in project.rglob("*")
        if path.is_file() and not {".git", ".venv", ".web", "__pycache__"} & set(path.relative_to(project).parts)
    ]


@pytest.mark.parametrize("answers", VARIANTS, ids=name)
def test_no_template_syntax_is_left(answers, render):
    project = render(answers)
    given = "".join(str(value) for value in answers.values())
    for path in files(project):
        relative = path.relative_to(project)
        assert "{" not in str(relative), relative
        text = path.read_text()
        if "{{ " in given and path.name in NAMED:  # a name that looks like a template stands there as it is
            continue
        for sign in ("{%", "%}", "{#", "{{ "):
            text = re.sub(r"\$\{\{.*?\}\}", "", text)  # GitHub's own expressions
            assert sign not in text, relative


@pytest.mark.parametrize("answers", COMBINATIONS, ids=name)
def test_no_server_is_named_but_the_chosen(answers, render):
    project = render(answers)
    others = set(SERVERS) - {answers["server"], "reflex", *TABLE[answers["server"]]["uses"]}
    for path in files(project):
        if path.name == "update.yml":  # its form offers all of them
            continue
        text = path.read_text().lower()
        if path.name.startswith("requirements"):  # Reflex itself requires granian
            text = text.replace("granian", "")
        for other in others:
            assert other not in text, f"{path.relative_to(project)} names {other}"


@pytest.mark.parametrize("answers", COMBINATIONS, ids=name)
def test_redis_is_set_up_only_where_it_is_chosen(answers, render):
    project = render(answers)
    for path in ("compose.yaml", "deploy/setup", "deploy/lib/common.sh", "scripts/serve"):
        assert ("redis" in (project / path).read_text().lower()) == (answers["state_store"] == "redis"), path


@pytest.mark.parametrize("answers", VARIANTS, ids=name)
def test_the_answers_are_kept(answers, render):
    kept = yaml.safe_load((render(answers) / ".copier-answers.yml").read_text())
    assert {key: kept[key] for key in answers} == answers


@pytest.mark.parametrize("answers", VARIANTS, ids=name)
def test_files_end_well_and_scripts_can_be_run(answers, render):
    project = render(answers)
    for path in files(project):
        text = path.read_text()
        assert text.endswith("\n") or path.name == "bun.lock", path
        assert "\n\n\n\n" not in text, path
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), path
        assert os.access(path, os.X_OK) == text.startswith("#!"), path


@pytest.mark.parametrize("answers", HOSTILE_NAMES, ids=name)
def test_a_hostile_name_is_shown_as_it_is(answers, render):
    project = render(answers)
    app_name = yaml.safe_load((project / ".copier-answers.yml").read_text())["app_name"]
    scope: dict[str, str] = {}
    exec((project / app_name / "settings.py").read_text(), scope)  # noqa: S102 - it is two constants
    assert scope["NAME"] == answers["project_name"].strip()


def test_without_github_actions_there_is_no_github_folder(render):
    assert (render() / ".github/workflows/test.yml").exists()
    assert not (render({"github_actions": False}) / ".github").exists()


@pytest.mark.parametrize("answers", VARIANTS, ids=name)
def test_googles_own_library_reads_the_build(answers, render):
    config = yaml.safe_load((render(answers) / "cloudbuild.yaml").read_text())
    build = cloudbuild_v1.Build.from_json(json.dumps(config))
    assert [step.id for step in build.steps] == ["image", "candidate", "trial", "traffic"]
    assert build.options.logging == cloudbuild_v1.BuildOptions.LoggingMode.CLOUD_LOGGING_ONLY
    # Google deletes releases of its images after a year, so that only a rolling tag lasts.
    images = {"gcr.io/cloud-builders/docker:latest", "gcr.io/google.com/cloudsdktool/google-cloud-cli:stable"}
    assert {step.name for step in build.steps} == images | {"${_IMAGE}:${BUILD_ID}"}
    assert [step.id for step in build.steps if step.allow_failure] == ["trial"]
    resolved = cloud_build.resolve(render(answers) / "cloudbuild.yaml", "0123abcd")
    account = resolved["serviceAccount"].rpartition("/")[2].partition("@")[0]
    assert re.fullmatch(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])", account)
    assert len(resolved["steps"][2]["name"]) < 200


def test_a_mounted_bucket_gets_the_memory_that_it_needs(render):
    """The mount buffers some 64 MiB for each open file."""
    for answers, memory in (({}, "512Mi"), ({"uploads": "bucket"}, "1Gi")):
        assert f"--memory={memory} " in (render(answers) / "deploy/build/candidate").read_text()
