"""What the tests share: rendered projects, Google Cloud projects, a Redis, a browser."""

import collections
import gc
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from harness import (
    engine,
    quick_copier,  # noqa: F401 - it changes Copier
)
from harness.caches import CACHE, only_once
from harness.commands import must_run
from harness.engine import built
from harness.google_cloud import REFUSALS, GoogleCloud, gcloud
from harness.google_cloud.running import Google
from harness.history import commit
from harness.hostile import TRIED, tried
from harness.installs import build, install
from harness.projects import copy as copy_project
from harness.projects import copy_files
from harness.redis_server import redis_server
from harness.visitor import chromium
from tests.variants import Answers

Render = Callable[..., Path]
UPDATES = CACHE / "updates"


STAND_INS = pytest.StashKey[list[str]]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop what the test processes started and shared, and remove what they built, when the last of them is done."""
    if not hasattr(session.config, "workerinput"):
        session.config.stash[STAND_INS] = engine.stand_ins()
        engine.tidy()
        engine.stop()
        gcloud.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the stand-ins, the results of the matrices, and where the time went."""
    if names := terminalreporter.config.stash.get(STAND_INS, []):
        terminalreporter.write_line(f"Base images that could not be pulled, made here instead: {', '.join(names)}")
    if REFUSALS.exists():
        counts = [int(line.split()[0]) for line in REFUSALS.read_text().splitlines()]
        kinds = {line.partition(" ")[2] for line in REFUSALS.read_text().splitlines()}
        terminalreporter.write_line(f"Google Cloud's stand-in rejected {sum(counts)} requests, of {len(kinds)} kinds")
    for line in results_of_apps(terminalreporter):
        terminalreporter.write_line(line)
    for line in tried():
        terminalreporter.write_line(line)
    if UPDATES.exists():
        counts = [map(int, line.split()) for line in UPDATES.read_text().splitlines()]
        mine, lost, conflicts, needless = (sum(column) for column in zip(*counts, strict=True))
        terminalreporter.write_line(
            f"Updates: {len(counts)} projects with {mine} changes of their owners, {lost} lost;"
            f" {conflicts} conflicts that git has too, {needless} needless"
        )
    seconds = collections.Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    spent = ", ".join(f"{Path(file).stem.removeprefix('test_')} {time:.0f}" for file, time in seconds.most_common())
    terminalreporter.write_line(f"Seconds of the test processes, {seconds.total():.0f} in all: {spent}")


def results_of_apps(terminalreporter: pytest.TerminalReporter) -> Iterator[str]:
    """Say how many of the existing apps passed, and on how many servers those of older minor versions of Reflex."""
    kinds = {
        r"it_is_what_reflex_itself_serves\[()": "Apps on the newest Reflex{}: {} of {} as under its `reflex run`",
        r"is_what_that_reflex_serves\[([\w.]+)-": "Apps on Reflex ~={}: {} of {} as under its `reflex run`",
        r"each_minor_version_of_reflex\[([\w.]+)-": "Reflex ~={}: {} of {} servers, clicked in Chromium",
    }
    outcomes = collections.defaultdict(list)
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for kind in kinds:
                if report.when == "call" and (found := re.search(kind, report.nodeid)):
                    outcomes[kind, found[1]].append(report.passed)
    for (kind, minor), passed in sorted(outcomes.items()):
        yield kinds[kind].format(minor, sum(passed), len(passed))


def pytest_configure(config: pytest.Config) -> None:
    """Forget the counts of the run before."""
    if not hasattr(config, "workerinput"):
        UPDATES.unlink(missing_ok=True)
        REFUSALS.unlink(missing_ok=True)
        TRIED.unlink(missing_ok=True)


TOGETHER = ("test_cloud_build", "test_habits", "test_hostile", "test_serving")
"""Files whose tests share what takes long to make, which one process has."""


class Scheduling(LoadScopeScheduling):
    """Gives each test to the first process that is free, and some files as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if Path(file).stem in TOGETHER else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Use it for `--dist loadscope`."""
    return Scheduling(config, log)


def pytest_collection_finish() -> None:
    """Have Python's garbage collection skip what is loaded by now, in each test process: it would stay anyway."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, then mix the tests of all files; the quick ones fill the gaps at the end.

    Some need all of the CPU, others mostly wait: side by side, in the same arbitrary order each time, they leave no
    processor idle.
    """

    def place(item: pytest.Item) -> tuple[int, bytes]:
        if item.get_closest_marker("long") or item.path.stem in TOGETHER:
            return 0, b""
        return (1, hashlib.sha256(item.nodeid.encode()).digest()) if item.get_closest_marker("slow") else (2, b"")

    items.sort(key=place)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Path:
    """Have a folder that the test processes of this run share."""
    mine = tmp_path_factory.getbasetemp()
    return mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine


@pytest.fixture(scope="session")
def render(copie_session, shared_folder) -> Render:
    """Render a project for some answers, once in a test run for the same answers; treat it as read-only."""

    def get(answers: Answers | None = None) -> Path:
        kept = (
            shared_folder
            / "rendered"
            / hashlib.sha256(json.dumps(answers or {}, sort_keys=True).encode()).hexdigest()[:16]
        )
        with only_once(kept) as needed:
            if needed and (answers or {}).get("starter") is False:
                kept.mkdir(parents=True)
                (kept / "rxconfig.py").touch()  # an app that existed before
                copy_project(kept, answers)
            elif needed:
                result = copie_session.copy(extra_answers=dict(answers or {}))
                assert result.exit_code == 0, result.exception
                shutil.copytree(result.project_dir, kept, symlinks=True)
        return kept

    return get


@pytest.fixture
def project(render, tmp_path) -> Render:
    """Make a separate project, or several with different names, that can be installed, built and changed."""

    def get(answers: Answers | None = None, *, built: bool = False, name: str = "project") -> Path:
        copy = tmp_path / name
        copy_files(render(answers), copy)
        if built:
            app_name = yaml.safe_load((copy / ".copier-answers.yml").read_text())["app_name"]
            build(copy, app_name)
        else:
            install(copy)
        return copy

    return get


@pytest.fixture
def cloud(tmp_path) -> Iterator[GoogleCloud]:
    """Have an empty separate Google Cloud project, in which every app starts."""
    with GoogleCloud(tmp_path / "google") as google:
        yield google
        assert google.outside_requests == [], "gcloud wanted to leave this machine"


@pytest.fixture
def google(cloud, project, redis_url, tmp_path) -> Iterator[Callable[[Answers], tuple[Google, Path]]]:
    """Have that project run builds and revisions of an app, which is committed and has its image."""
    made = {}

    def get(answers: Answers) -> tuple[Google, Path]:
        made["project"] = project(answers | {"github_actions": True})
        must_run("git", "init", "-q", "--initial-branch=main", cwd=made["project"])
        must_run("git", "remote", "add", "origin", "https://github.com/OWNER/REPOSITORY", cwd=made["project"])
        commit(made["project"], "Start")
        image = built(made["project"])
        made["google"] = Google(cloud, tmp_path, image, redis_url)
        return made["google"], made["project"]

    yield get
    if "google" in made:
        made["google"].proxies.close()
        for container in made["google"].containers:
            container.__exit__()


@pytest.fixture(scope="session")
def remembered(shared_folder) -> Callable[..., object]:
    """Compute something that JSON can hold once in a test run, in whichever process needs it first."""

    def get(what: str, compute: Callable[[], object]) -> object:
        kept = shared_folder / "remembered" / hashlib.sha256(what.encode()).hexdigest()[:16]
        with only_once(kept) as needed:
            if needed:
                kept.write_text(json.dumps(compute()))
        return json.loads(kept.read_text())

    return get


@pytest.fixture(scope="session")
def set_up(render, remembered, tmp_path_factory) -> Callable[..., str]:
    """Give a Google Cloud project what deploy/setup makes for some answers, which runs once for the same answers.

    The function returns what deploy/setup printed.
    """

    def get(google: GoogleCloud, answers: Answers | None = None, *options: str) -> str:
        def compute() -> list:
            folder = tmp_path_factory.mktemp("set_up")
            with GoogleCloud(folder) as first:
                project = copy_files(render(answers), folder / "project")
                must_run("git", "init", "--quiet", cwd=project)
                must_run("git", "remote", "add", "origin", "https://github.com/OWNER/REPOSITORY", cwd=project)
                done = first.run("deploy/setup", "--yes", *options, cwd=project, REPOSITORY_ID="42")
                assert done.returncode == 0, done.stdout
                return [first.resources, first.policies, sorted(first.enabled), done.stdout]

        what = json.dumps(["set_up", answers or {}, options], sort_keys=True)
        google.resources, google.policies, enabled, said = remembered(what, compute)
        google.enabled = set(enabled)
        return said

    return get


@pytest.fixture
def ready(cloud, project, set_up):
    """Make a project for some answers whose deploy/setup has run."""

    def get(answers=None):
        set_up(cloud, answers)
        return project(answers)

    return get


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory) -> Iterator[str]:
    """Run a real Redis for the whole test run."""
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Run a real Chromium for the tests of this process."""
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser) -> Iterator[Page]:
    """Open a tab of a visitor who was never here."""
    context = browser.new_context()
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()
