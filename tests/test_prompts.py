"""Every wrong answer is refused with its name, the rule and a value that would do, and nothing is written."""

import subprocess

import pytest
import yaml

from harness.caches import ROOT
from harness.projects import copier
from tests.variants import WRONG


def copy(*arguments: str, target) -> subprocess.CompletedProcess[str]:
    return copier("copy", "--defaults", "--vcs-ref=HEAD", *arguments, ROOT, target, cwd=ROOT)


@pytest.mark.parametrize("way", ["data", "data-file"])
@pytest.mark.parametrize(("answer", "answers", "words"), WRONG, ids=lambda value: f"{value!s:.50}")
def test_a_wrong_answer_is_refused(answer, answers, words, way, tmp_path):
    target = tmp_path / "project"
    if way == "data":
        given = [f"--data={name}={value}" for name, value in answers.items()]
    else:
        (tmp_path / "answers.yml").write_text(yaml.safe_dump(answers))
        given = [f"--data-file={tmp_path / 'answers.yml'}"]
    done = copy(*given, target=target)
    assert done.returncode != 0
    message = " ".join(done.stdout.split())
    assert answer in message
    assert words in message
    assert not target.exists() or not any(target.iterdir())


def test_the_defaults_ask_for_no_trust_and_run_no_code(tmp_path):
    done = copy(target=tmp_path / "project")
    assert done.returncode == 0, done.stdout
    assert "trust" not in done.stdout.lower()
    config = (ROOT / "copier.yml").read_text()
    assert not {"_tasks:", "_migrations:", "_jinja_extensions:"} & {line.strip() for line in config.splitlines()}


def test_the_message_names_the_next_commands(tmp_path):
    done = copy(target=tmp_path / "project")
    assert "scripts/serve" in done.stdout


def test_pretending_writes_nothing(tmp_path):
    done = copy("--pretend", target=tmp_path / "project")
    assert done.returncode == 0, done.stdout
    assert not (tmp_path / "project").exists()
