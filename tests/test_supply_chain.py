"""What goes to production is known, looked up for faults, and holds no secret of the folder that it was made from."""

import base64
import contextlib
import gzip
import io
import json
import re
import subprocess
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from harness.caches import ROOT
from harness.commands import clean_environment, run
from harness.engine import DOCKER, start
from harness.installs import install
from harness.requirements import blocks

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def lists(python=(), frontend=()):
    """Stand in for the lists of known faults, OSV's and npm's, which name the packages given; yields their address.

    Their forms: https://google.github.io/osv.dev/post-v1-query and `bun audit`.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            data = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                data = gzip.decompress(data)
            asked = json.loads(data)
            if self.path == "/v1/query":
                faulty = asked["package"]["name"] in python
                fault = {"id": "PYSEC-1", "summary": "a fault", "modified": "2026-01-01T00:00:00Z", "affected": []}
                answer = {"vulns": [fault]} if faulty else {}
            else:
                row = {"id": 1, "title": "a fault", "severity": "high", "url": "https://example.com"}
                answer = {name: [row | {"vulnerable_versions": "*"}] for name in frontend if name in asked}
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def audit(made, address):
    options = ("--vulnerability-service", "osv", "--osv-url", f"{address}/v1/query")
    return run("scripts/audit", *options, cwd=made, BUN_CONFIG_REGISTRY=address)


@pytest.mark.parametrize(
    "answers", [{}, {"server": "uvicorn", "state_store": "redis", "database": "postgres"}], ids=str
)
def test_an_audit_lists_every_package_and_names_a_fault(answers, project):
    made = project(answers)
    with lists() as address:
        done = audit(made, address)
    assert done.returncode == 0, done.stdout
    listed = json.loads((made / "sbom.cdx.json").read_text())["components"]
    pinned = blocks((made / "requirements.txt").read_text()).keys()
    here = {part["name"] for part in listed}
    assert here <= pinned
    assert len(pinned - here) < 6  # those of another system or Python
    assert {"reflex", "redis", "starlette"} <= here
    with lists(python=["starlette"]) as address:
        done = audit(made, address)
    assert done.returncode == 1
    assert re.search(r"starlette +\S+ +PYSEC-1", done.stdout)
    with lists(frontend=["react"]) as address:
        done = audit(made, address)
    assert done.returncode == 1
    assert "react" in done.stdout


def test_an_audit_that_cannot_look_up_says_so(project):
    made = project()
    done = audit(made, "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "could not be read" in done.stdout


#: Where secrets lie in a folder that somebody works in.
SECRETS = [
    *(".env", ".env.production", ".netrc", ".npmrc", ".pypirc", ".git/config", ".aws/credentials", ".ssh/id_rsa"),
    *(
        "gha-creds-1.json",
        "service-account.json",
        "my-service-account-key.json",
        "application_default_credentials.json",
    ),
    *("{app}/.env.local", "{app}/tls.pem", "{app}/tls.key", "{app}/store.p12", "{app}/id_ed25519", "{app}/.netrc"),
    *("{app}/service_account.json", "{app}/deep/.git/config", "assets/.env", "deploy/secrets.yaml", ".venv/secret"),
]
CANARY = "a-canary-that-stays-at-home"


@pytest.mark.parametrize("starter", [True, False])
def test_no_secret_of_the_folder_gets_into_the_image(starter, project, render):
    made = project()
    install(made)
    if not starter:
        (made / ".dockerignore").write_text((render({"starter": False}) / ".dockerignore").read_text())
    for place in SECRETS:
        path = made / place.format(app="my_reflex_app")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CANARY)
    start()
    # The whole context as an image: what the Engine is sent, by its own reading of .dockerignore.
    sent = subprocess.run(
        [DOCKER, "build", "--quiet", "--file", "-", "--output", "type=tar,dest=-", "."],
        cwd=made,
        env=clean_environment(DOCKER_BUILDKIT="1"),
        input=b"FROM scratch\nCOPY . /\n",
        capture_output=True,
        check=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(sent)) as archive:
        files = {each.name: archive.extractfile(each).read() for each in archive if each.isfile()}
    assert "production/__init__.py" in files
    assert "my_reflex_app/my_reflex_app.py" in files
    told = (CANARY.encode(), base64.b64encode(CANARY.encode()))
    assert [name for name, content in files.items() if any(text in content for text in told)] == []


def workflows():
    found = [*ROOT.glob(".github/workflows/*.yml"), *ROOT.glob("template/*/workflows/*.yml")]
    assert len(found) > 8
    return found


@pytest.mark.parametrize("file", workflows(), ids=lambda file: f"{file.parent.parent.parent.name}-{file.name}")
def test_a_workflow_may_do_no_more_than_it_has_to(file):
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        steps = job.get("steps", [])
        granted = job.get("permissions", {})
        assert set(granted) <= {"contents", "id-token", "issues", "pull-requests", "actions"}, name
        for step in steps:
            if "uses" in step:
                assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
            # What somebody else can write, a title or a branch, must never become part of a script.
            assert not re.search(r"\$\{\{ *github\.(event|head_ref)", step.get("run", "")), name
            if step.get("uses", "").startswith("actions/checkout") and granted.get("contents") != "write":
                assert step["with"]["persist-credentials"] is False, name
