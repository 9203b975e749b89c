"""The benchmark: what it writes is what the READMEs show, and each measurement measures."""

import shutil
from dataclasses import replace

import contenders
import engine
import measure
import pytest
import report
from contenders import ARTICLE, DEFAULT, Edit
from house import ROOT, install, must_run
from ideas import IDEAS


def test_the_readmes_show_the_results_file(tmp_path, monkeypatch):
    """No figure by hand: writing the report again changes nothing."""
    shutil.copytree(ROOT / "bench", tmp_path / "bench")
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.setattr(report, "BENCH", tmp_path / "bench")
    monkeypatch.setattr(report, "ROOT", tmp_path)
    report.main()
    for file in ("README.md", "bench/README.md"):
        assert (tmp_path / file).read_text() == (ROOT / file).read_text(), f"run scripts/bench --report for {file}"
    for theme in ("light", "dark"):
        assert (tmp_path / f"bench/cold-start-{theme}.svg").read_bytes().startswith(b"<?xml")


def test_the_references_start_from_the_same_images(render):
    """One place has the versions: the references' Dockerfiles have to follow it."""
    ours = {line.split()[1] for line in (render() / "Dockerfile").read_text().splitlines() if line.startswith("FROM ")}
    for reference in ("article", "docker_example"):
        lines = (ROOT / "bench" / reference / "Dockerfile").read_text().splitlines()
        assert {line.split()[1] for line in lines if line.startswith("FROM ")} <= ours
        must_run("hadolint", "--ignore=DL3008", "--ignore=DL3042", f"bench/{reference}/Dockerfile", cwd=ROOT)


@pytest.mark.parametrize("idea", IDEAS, ids=lambda idea: idea.change.name)
def test_an_idea_is_still_a_change_of_the_template(idea, tmp_path):
    """Where a file has changed so that an idea's edit would change nothing, rendering it is refused."""
    made = contenders.project(idea.change, tmp_path / "change")
    assert all(edit.new in (made / edit.file).read_text() for edit in idea.change.edits)
    assert idea.change.edits or idea.change.environment or idea.change.answers != idea.base.answers


def test_an_edit_that_changes_nothing_is_refused(tmp_path):
    idea = replace(DEFAULT, edits=(Edit("start.sh", "no such line", ""),))
    with pytest.raises(ValueError, match=r"start\.sh has no 'no such line' to change"):
        contenders.project(idea, tmp_path / "change")


@pytest.mark.slow
@pytest.mark.parametrize("contender", [DEFAULT, ARTICLE], ids=lambda contender: contender.name)
def test_a_start_is_measured(contender, tmp_path):
    """What the figures are is no matter here; that they are possible is."""
    ours = contenders.project(DEFAULT, tmp_path / "default")
    install(ours)
    engine.bases(ours)
    contenders.build(contenders.project(contender, tmp_path / "project"), contender)
    with engine.alone("bench"):  # all contenders have the same port
        figures = measure.cold_start(contender, "")
    assert 0 < figures["first page, s"] <= figures["first event, s"] < 60
    if contender == DEFAULT:
        assert figures["5xx while starting"] == 0
