"""From a checkout to traffic: the steps of cloudbuild.yaml in order, with the real Docker Engine and a real registry.

Google's API is a stand-in, and the Cloud Run behind it starts each revision as a real container on the loopback.
"""

import json
import re

import pytest

from harness.commands import must_run
from harness.engine import Container, another, bases, docker
from harness.google_cloud import builds as cloud_build
from harness.installs import install
from harness.processes import until
from harness.projects import copy_files
from harness.serving import get
from harness.tcp_ports import listens

pytestmark = pytest.mark.slow

SERVICE = "my-reflex-app"


@pytest.fixture
def containers():
    """Collect the containers that Cloud Run's stand-in started, and remove them."""
    started = []
    yield started
    for container in started:
        container.__exit__()


@pytest.fixture(scope="module")
def new_engine(render, tmp_path_factory):
    """Have an Engine that never built anything, as on Cloud Build."""
    made = copy_files(render(), tmp_path_factory.mktemp("new-engine") / "project")
    install(made)
    with another(bases(made)) as address:
        yield address


@pytest.fixture(autouse=True)
def new_machine(new_engine, monkeypatch):
    """Use it; the first test has it as it was made."""
    monkeypatch.setenv("DOCKER_HOST", new_engine)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Have a registry, which compressed layers go to once."""
    with cloud_build.registry(tmp_path_factory.mktemp("registry") / "registry") as address:
        yield address


@pytest.fixture
def run(cloud, containers, registry, set_up, tmp_path):
    """Run a build of a project, and Cloud Run's stand-in on real containers."""

    def start(description):
        environment = {entry["name"]: entry.get("value", "a-secret") for entry in description.get("env", [])}
        docker("image", "rm", "--force", description["image"])  # so that what was pushed is what runs
        container = Container(description["image"], **environment)
        containers.append(container)
        # Cloud Run waits for the port, then the revision is ready.
        until(lambda: listens(container.port) or container.state("Running") != "true", 60, every=0.3)
        if not listens(container.port):
            msg = f"The container failed to start and listen on the port defined by PORT={container.port}"
            raise RuntimeError(msg)
        return container.url

    set_up(cloud)

    def build(project, build_id, **given):
        cloud.start = start
        bases(project)
        # A trial that fails does so after 20 s here instead of 120.
        return cloud_build.run(
            project,
            tmp_path / build_id,
            cloud,
            environment={"TRIAL_SECONDS": "20"},
            _IMAGE=f"{registry}/my-project-123/{SERVICE}",
            **given,
        )

    return build


@pytest.mark.long
def test_three_deployments(cloud, containers, project, registry, run):
    made = project()
    # A checkout of somebody whose umask is 077; git keeps nothing but whether a file is executable.
    must_run("chmod", "--recursive", "go-rwx", ".", cwd=made)
    # The first one: the service does not exist.
    first = run(made, "11111111-by-hand")
    assert first.succeeded, first.log
    assert first.steps == ["image", "candidate", "trial", "traffic"]
    assert re.findall(r"trial: (\w+): passed", first.log) == ["page", "ping", "event"]
    assert cloud.traffic(SERVICE) == {f"{SERVICE}-b11111111": 100}
    assert cloud.is_open(SERVICE)
    assert cloud.tags(SERVICE) == {}
    assert get(f"{containers[0].url}/")[0] == 200

    # The second: a changed line, a commit; nothing is installed again, though the machine is a new one.
    forget(f"{registry}/*/*")
    index = made / "my_reflex_app/pages/index.py"
    index.write_text(index.read_text().replace("Add one", "Add one more"))
    second = run(made, "22222222-trigger", COMMIT_SHA="c0ffee", _SOURCE="https://github.com/OWNER/REPOSITORY")
    assert second.succeeded, second.log
    assert cloud.traffic(SERVICE) == {f"{SERVICE}-b22222222": 100}
    assert installs(second.log) == [], second.log
    assert len(installs(first.log)) == 3
    tags = json.loads(get(f"http://{registry}/v2/my-project-123/{SERVICE}/tags/list")[2])["tags"]
    assert set(tags) == {"11111111-by-hand", "22222222-trigger", "c0ffee", "latest", "dependencies"}
    labels = docker("inspect", "--format", "{{json .Config.Labels}}", f"{registry}/my-project-123/{SERVICE}:c0ffee")
    assert '"org.opencontainers.image.revision":"c0ffee"' in labels
    assert '"org.opencontainers.image.source":"https://github.com/OWNER/REPOSITORY"' in labels

    # The third: an app that does not start. The one before keeps serving, and no address of it is left.
    forget_a_setting(made)
    third = run(made, "33333333-broken")
    assert not third.succeeded
    assert third.steps == ["image", "candidate", "trial", "traffic"]
    assert "The current revision keeps serving" in third.log
    assert cloud.tags(SERVICE) == {}
    assert re.search(r"trial: (page|ping): .*(refused|502|503|reset|closed)", third.log, re.IGNORECASE), third.log
    assert cloud.traffic(SERVICE) == {f"{SERVICE}-b22222222": 100}
    assert get(f"{containers[1].url}/ping")[0] == 200


@pytest.mark.long
def test_an_app_that_does_not_start_never_gets_its_first_traffic(cloud, project, run):
    made = project({"startup": "backend-first", "server": "uvicorn"})
    forget_a_setting(made)
    build = run(made, "44444444-broken")
    assert not build.succeeded
    assert build.steps == ["image", "candidate"]
    assert "failed to start and listen on the port" in build.log
    assert cloud.traffic(SERVICE) == {}
    assert not cloud.is_open(SERVICE)


def forget(images):
    """Have the machine of the builds know nothing, as a new one; what an image holds, its cache would keep."""
    docker("image", "rm", "--force", *docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", images).split())
    docker("builder", "prune", "--all", "--force")


def forget_a_setting(project):
    """Have the app need a variable that nobody sets in production; the build does not need it."""
    app = project / "my_reflex_app/my_reflex_app.py"
    app.write_text(f"{app.read_text()}\nimport os\n\nif 'PORT' in os.environ:\n    KEY = os.environ['STRIPE_KEY']\n")


def installs(log):
    """List the build steps that installed something, rather than taking it from the registry."""
    found = set()
    for build in re.split(r"^#1 \[internal\] ", log, flags=re.MULTILINE):  # each numbers its steps from 1
        installing = r"^#(\d+) \[.*\] (RUN (?:--mount=from=uv,|bun install|python -c).*)$"
        steps = dict(re.findall(installing, build, re.MULTILINE))
        found |= {command for step, command in steps.items() if f"#{step} CACHED" not in build}
    return sorted(found)


def test_without_the_right_to_push_the_build_fails_with_googles_words(cloud, project, run):
    images = f"projects/my-project-123/locations/us-central1/repositories/{SERVICE}"
    cloud.policies[images] = {"bindings": []}
    build = run(project(), "55555555-denied")
    assert not build.succeeded
    assert build.steps == ["image"]
    assert "Permission 'artifactregistry.repositories.uploadArtifacts' denied" in build.log
