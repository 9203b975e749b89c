"""The benchmark: what it writes is what the READMEs show, and each measurement measures."""

import json
import re
import shutil
import socket
import subprocess
from dataclasses import replace

import pytest

from bench import against, breakdown, contenders, measure, places, report
from bench.contenders import ARTICLE, DEFAULT, EXAMPLE, IMAGES, Edit
from bench.ideas import IDEAS
from harness import client, engine
from harness.caches import ROOT
from harness.commands import must_run, run


def test_the_readmes_show_the_results_file(tmp_path, monkeypatch):
    """No figure by hand: writing the report again changes nothing."""
    shutil.copytree(ROOT / "bench", tmp_path / "bench")
    shutil.copy(ROOT / "README.md", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    monkeypatch.setattr(report, "BENCH", tmp_path / "bench")
    monkeypatch.setattr(report, "ROOT", tmp_path)
    report.main()
    for file in ("README.md", "docs/servers.md", "bench/README.md"):
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


def test_a_report_of_plain_processes_says_so_and_has_no_images():
    loaded = json.loads((ROOT / "bench/results.json").read_text())
    of_images = {"image over its base, MB", "clean build, s", "rebuild, s", "steps of a rebuild"}
    for values in loaded["results"].values():
        for name in of_images:
            values.pop(name, None)
    loaded["ideas"] = {
        name: values
        for name, values in loaded["ideas"].items()
        if not any(idea.change.name == name and idea.change.needs_image for idea in IDEAS)
    }
    loaded["about"] |= {"run": places.AsProcesses.name}
    loaded["about"].pop("bases", None)
    said = report.details(loaded) + report.comparison(loaded["about"], loaded["results"])
    assert "Medians, as plain processes" in said
    assert "first event, s | article" in said
    assert not any(name in said for name in (*of_images, "Python 3.14 |"))


def test_without_an_engine_it_runs_as_processes(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    monkeypatch.setenv("PATH", str(tmp_path))  # nor can one be started
    assert places.choose(processes=False) == (places.AsProcesses, False)
    assert "As plain processes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--only=gunicorm", "--results=part.json"], "there is no gunicorm; there are gunicorn, uvicorn"),
        (["--only=gunicorn"], "name another file"),
        (["--rounds=0"], "--rounds: 0 is less than 1"),
        (["--seconds=0"], "--seconds: 0 is less than 1"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_written(options, fault):
    before = (ROOT / "bench/results.json").read_bytes()
    done = run("python", "-m", "bench.run", *options, cwd=ROOT)
    assert done.returncode == 2
    assert fault in done.stdout
    assert (ROOT / "bench/results.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--against=v0.0.0"], "v0.0.0 is no commit of this repository"),
        (["--against=HEAD", "--only=gunicorm"], "there is no gunicorm; there are gunicorn, uvicorn"),
        (["--against=HEAD", "--rounds=0"], "less than 1"),
    ],
)
def test_a_wrong_option_of_a_comparison_is_named(options, fault):
    done = run("python", "-m", "bench.against", *options, cwd=ROOT)
    assert (done.returncode, fault in done.stdout) == (2, True), done.stdout


def test_a_comparison_says_how_sure_it_is():
    assert against.line("first page", [1.0] * 5) == "first page 1.000 of what it was (1.000 to 1.000), 5 rounds"
    # A round in which the machine did something else counts for nothing in the mean, and for much in the bounds.
    slower = [1.2, 1.2, 10, 1.2, 1.2]
    low, high = against.interval(slower)
    assert against.line("first event", slower).startswith("first event 1.200 of what it was (1.200 to ")
    assert low == pytest.approx(1.2)
    assert high > 2


def test_each_of_two_is_first_every_other_time():
    asked = []

    def measured(pair):
        asked.append(pair)
        return [name.upper() for name in pair]

    assert [against.in_turn(["before", "now"], number, measured) for number in range(2)] == [["BEFORE", "NOW"]] * 2
    assert asked == [["now", "before"], ["before", "now"]]


@pytest.mark.slow
def test_a_revision_is_compared_with_itself():
    few_turns = "from bench import against, measure; measure.TURNS = 4; against.main()"
    with engine.alone("bench"):
        options = ["--against=HEAD", "--rounds=2", "--processes", f"--only={DEFAULT.name}"]
        done = run("python", "-c", few_turns, *options, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    form = r"^gunicorn: (.+) ([0-9.]+) of what it was \(([0-9.]+) to ([0-9.]+)\), (\d) rounds$"
    said = re.findall(form, done.stdout, re.MULTILINE)
    assert [(name, rounds) for name, *_, rounds in said] == [
        *((name, "2") for name in against.COLD_START.values()),
        ("CPU per event", "1"),
    ]
    for _, ratio, low, high, _ in said:
        assert 0.1 < float(low) <= float(ratio) <= float(high) < 10


def test_what_answers_at_a_port_that_is_taken_is_not_measured(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(places, "PORT", str(taken.getsockname()[1]))
        with pytest.raises(RuntimeError, match="is taken"):
            measure.cold_start(places.AsProcesses(DEFAULT, tmp_path))


@pytest.mark.slow
def test_a_benchmark_removes_its_own_images_only(tmp_path):
    """Those of the tests that run beside it stay, even if they are the same images by other names."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    names = [f"{name}-{tmp_path.parent.name}:{tag}" for name, tag in (("shared", "a"), ("bench", "bench"))]
    engine.start()
    for name in names:
        engine.docker("build", *engine.build_options(), "--tag", name, ".", cwd=tmp_path)
    container = engine.docker("create", "--label", engine.LABEL, names[0], "/none").strip()
    with engine.alone("bench"):
        engine.tidy(IMAGES)
    assert engine.docker("image", "ls", "--quiet", names[0]).strip()
    assert not engine.docker("image", "ls", "--quiet", names[1]).strip()
    assert engine.docker("rm", container).strip() == container


@pytest.mark.slow
def test_a_start_of_the_article_is_measured(tmp_path):
    """What the figures are is no matter here; that they are possible is."""
    article = places.InContainers(ARTICLE, tmp_path / "article")
    with engine.alone("bench"):  # all contenders have the same port
        places.InContainers(DEFAULT, tmp_path / "default").render()  # has the images that the article's starts from
        article.prepare()
        figures = measure.cold_start(article)
    assert 0 < figures["first page, s"] <= figures["first event, s"] < 60


@pytest.mark.slow
@pytest.mark.parametrize("reference", [ARTICLE, EXAMPLE], ids=lambda reference: reference.name)
def test_a_reference_starts_without_an_engine(reference, tmp_path):
    place = places.AsProcesses(reference, tmp_path / "project")
    place.prepare()
    with engine.alone("bench"):
        with place.running() as app:
            client.first_event(app.port, app.started)
            programs = {breakdown.title(process, {}) for process in app.processes()}
        figures = measure.cold_start(place)
    assert {"caddy", "redis-server"} & programs == ({"caddy"} if reference == ARTICLE else {"caddy", "redis-server"})
    assert app.served.members() == [], "it leaves processes behind"
    assert 0 < figures["first page, s"] <= figures["first event, s"] < 60


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("kind", [places.InContainers, places.AsProcesses], ids=["containers", "processes"])
def test_everything_is_measured_of_the_default(kind, tmp_path):
    """As `scripts/bench` does it, with a round of each measurement and a second of each load."""
    results = tmp_path / "results.json"
    engine.start()
    options = [] if kind.builds_images else ["--processes"]
    with engine.alone("bench"):
        command = ["python", "-m", "bench.run", "--rounds=1", "--seconds=1", f"--only={DEFAULT.name}"]
        command += [f"--results={results}", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = json.loads(results.read_text())
    assert loaded["about"]["run"] == kind.name
    default = loaded["results"][DEFAULT.name]
    not_here = set(report.GROUPS["Two cores for everybody"])
    if not kind.builds_images:
        not_here |= {name for name in report.GROUPS["Pages and images"] if name != "first page load, kB"}
    assert {name for names in report.GROUPS.values() for name in names} - not_here <= default.keys()
    assert default["5xx while starting"] == [0]
    assert 0 < default["first page, s"][0] <= default["first event, s"][0] < 60
    assert default["idle, MiB"] < default["1 tab, MiB"] < default["100 tabs, MiB"] < default["1000 tabs, MiB"]
    # A worker is forked again under the open tab; only one that has the time to stop leaves its state behind.
    assert default["crash: without answers, s"][0] > 0
    assert default["recycle: clicks forgotten"] == [0]
    if kind.builds_images:
        assert default["steps of a rebuild"][0] > 0
    for name, part in {
        "import, ms": "reflex",
        "scripts of the first page, kB": "react-dom",
        "idle memory of gunicorn, MiB": "gunicorn's child",
    }.items():
        assert loaded["breakdowns"][name][part] > 0
