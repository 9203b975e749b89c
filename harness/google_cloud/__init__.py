"""A stand-in for Google Cloud's API on the loopback, for the real gcloud: it rejects what Google rejects.

gcloud reaches it as a proxy, under made-up host names such as run.google.test, so that nothing can leave the machine:
an address that is not overridden comes here too, is rejected and stands in `strangers`. A person calls with a token of
their own; a step of a build gets its tokens from the metadata server, as on Google Cloud, without a key.

What it rejects, each by a rule of Google's documentation:

- a request without a permission that the caller was granted: see access.py;
- a request to an API that is not enabled, and, in tests that want it, the first one to an API that just was;
- a role for an account that does not exist, or, in tests that want it, is not visible yet;
- a grant to allUsers, or a public service, where the organization forbids them;
- an identity token for an account that may not have one;
- an instance of Cloud SQL that is protected, or whose name was given up a short time ago: see sql.py;
- a change of a service that was based on an older state, and more of Cloud Run's own rules: see services.py.
"""

import json
import re
import shutil
import subprocess
import threading
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from harness.caches import CACHE
from harness.commands import run
from harness.google_cloud import access, jobs, metadata, resources, services, sql
from harness.google_cloud.access import NUMBER, PERSON, PROJECT, RejectedError
from harness.google_cloud.gcloud import fast_gcloud
from harness.postgres_server import Postgres

__all__ = ["NUMBER", "PERSON", "PROJECT", "Call", "GoogleCloud", "RejectedError"]

Resource = dict[str, Any]

REFUSALS = CACHE / "refusals"
"""What was rejected in a test run, a line each, for the run's last lines."""

APIS = [
    *("artifactregistry", "cloudbilling", "cloudbuild", "cloudresourcemanager", "compute", "iam", "iamcredentials"),
    *("logging", "orgpolicy", "redis", "run", "secretmanager", "serviceusage", "sql", "storage"),
]
ALWAYS_ENABLED = {"cloudresourcemanager", "cloudbilling", "logging", "serviceusage", "storage"}
"""Enabled in a new project, or used by gcloud without being enabled there."""

VERB = re.compile(r"(.*?)(?::([a-zA-Z]+))?")
VERSIONS = ["compute/v1", "storage/v1", "upload/storage/v1", "sql/v1beta4", r"v\d\w*"]
VERSIONS += [r"apis/serving\.knative\.dev/v1", r"apis/run\.googleapis\.com/v1"]
PREFIX = re.compile(f"^/({'|'.join(VERSIONS)})/")

#: What these call when a revision is deployed: gets the container's description, returns its address, or raises.
Start = Callable[[Resource], str]
#: What runs a job's task: gets the container's description, returns its exit status and what it has printed.
Task = Callable[[Resource], tuple[int, str]]
#: What these call when a build is created: gets its number and its description.
Builder = Callable[["GoogleCloud", str, Resource], None]


@dataclass
class Call:
    """One request that gcloud made."""

    method: str
    api: str
    path: str
    query: dict[str, str]
    body: Resource
    data: bytes = b""
    caller: str = ""


@dataclass
class GoogleCloud:
    """The project's resources by path, its policies by path, the requests so far, and how Google behaves."""

    folder: Path
    start: Start = lambda _: "http://localhost:1"
    builder: Builder | None = None
    task: Task = lambda _: (0, "")
    #: What Cloud SQL's databases are made in; None where no app uses them.
    postgres: Postgres | None = None
    #: The names of instances that cannot be used again yet, and the backups that deleted ones have left.
    hidden_names: set[str] = field(default_factory=set)
    backups: list[str] = field(default_factory=list)
    resources: dict[str, Resource] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    policies: dict[str, Resource] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    enabled: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    #: The organization's policies that hold, by the names of their constraints.
    constraints: set[str] = field(default_factory=set)
    #: How often an account is invisible to others after it was created.
    unseen: int = 0
    #: Whether an API rejects the first request after it was enabled.
    hesitant: bool = False
    #: Whether every request fails from now on, as when the set-up is interrupted.
    broken: bool = False
    #: What cannot be deleted, since something of Google's still uses it.
    busy: set[str] = field(default_factory=set)
    hidden: dict[str, int] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    #: Called before a service is replaced, as somebody else might get in between.
    before_put: Callable[["GoogleCloud", Call], None] | None = None
    #: Called after each change, with this and the request.
    after: Callable[["GoogleCloud", Call], None] | None = None

    def __enter__(self) -> Self:
        """Start to listen; without gcloud there is nothing to test, and the report notes it."""
        if shutil.which("gcloud") is None:
            pytest.skip("gcloud is not installed, so nothing shows what Google's API would get")
        project = f"projects/{PROJECT}"
        self.resources[project] = {"projectId": PROJECT, "projectNumber": NUMBER, "name": PROJECT}
        self.policies[project] = {"bindings": [{"role": "roles/owner", "members": [PERSON]}]}
        self.lock = threading.RLock()
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer in two packets would wait 40 ms between them

            def answer(self) -> None:
                data = self.rfile.read(int(self.headers.get("content-length") or 0))
                code, body = cloud.answer(self.command, self.path, dict(self.headers.items()), data)
                content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(code)
                self.send_header("content-type", "text/plain" if isinstance(body, str) else "application/json")
                self.send_header("content-length", str(len(content)))
                self.send_header("metadata-flavor", "Google")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

            def do_CONNECT(self) -> None:
                cloud.strangers.append(self.path)
                self.send_error(403)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening, and note what was rejected."""
        self.server.shutdown()
        self.server.server_close()
        if self.refusals:
            REFUSALS.parent.mkdir(parents=True, exist_ok=True)
            with REFUSALS.open("a") as file:
                file.writelines(f"{count} {reason}\n" for reason, count in self.refusals.items())

    # WHAT GCLOUD NEEDS -----------------------------------------------------------------------------------------------
    def environment(self, account: str = "") -> dict[str, str]:
        """Give the environment that points the real gcloud here.

        Args:
            account: The e-mail address of the account that a build step runs as, which has nothing but the metadata
                server; empty for the person.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        who = account.partition("@")[0] or "person"
        given = {
            "CLOUDSDK_CONFIG": str(self.folder / f"config-{who}"),
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            # `gcloud storage` would start processes and threads for one small request.
            "CLOUDSDK_STORAGE_PROCESS_COUNT": "1",
            "CLOUDSDK_STORAGE_THREAD_COUNT": "1",
            "http_proxy": f"http://{self.address}",
            "https_proxy": f"http://{self.address}",
            "PATH": fast_gcloud(),
            # Google's delays are short here.
            "PATIENCE": "20",
            "PATIENCE_STEP": "0.1",
            "POLL_SECONDS": "0.1",
        } | {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": f"http://{api}.google.test/" for api in APIS}
        if account:
            root = f"{self.address}/of/{account}"
            return given | {"GCE_METADATA_ROOT": root, "GCE_METADATA_HOST": root, "GCE_METADATA_IP": self.address}
        token = self.folder / "person-token"
        token.write_text(metadata.token_of(PERSON))
        return given | {"CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token)}

    def run(self, *command: str | Path, cwd: Path, account: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command whose gcloud talks to this; its output, both streams together, is in `stdout`."""
        return run(*command, cwd=cwd, **(self.environment(account) | more))

    # WHAT IT KNOWS ---------------------------------------------------------------------------------------------------
    def service(self, name: str) -> Resource:
        """Look a Cloud Run service up."""
        return self.resources[f"namespaces/{PROJECT}/services/{name}"]

    def traffic(self, name: str) -> dict[str, int]:
        """Tell which revisions of a service get how many percent."""
        shares = self.service(name)["status"]["traffic"]
        return {share["revisionName"]: share["percent"] for share in shares if share.get("percent")}

    def tags(self, name: str) -> dict[str, str]:
        """Tell which revisions of a service have an address of their own, by its tag."""
        return {
            share["tag"]: share["revisionName"] for share in self.service(name)["status"]["traffic"] if "tag" in share
        }

    def is_open(self, name: str, region: str = "us-central1") -> bool:
        """Tell whether a service exists and anybody may open it."""
        if f"namespaces/{PROJECT}/services/{name}" not in self.resources:
            return False
        notes = self.service(name)["metadata"].get("annotations", {})
        granted = self.members(f"projects/{PROJECT}/locations/{region}/services/{name}", "roles/run.invoker")
        return notes.get("run.googleapis.com/invoker-iam-disabled", "").lower() == "true" or "allUsers" in granted

    def members(self, path: str, role: str) -> list[str]:
        """List who has a role on a resource, or on the project if the path is its own."""
        bindings = self.policies.get(path, {}).get("bindings", [])
        return sorted(member for binding in bindings if binding["role"] == role for member in binding["members"])

    def may(self, member: str, permission: str, resource: str) -> bool:
        """Tell whether a member, or one of several identities of a caller, has a permission on a resource."""
        return any(access.holds(self.policies, one, permission, resource) for one in member.split())

    def changes(self) -> list[Call]:
        """List the requests that change something."""
        reads = (":getIamPolicy", "/token", "entries:list")
        return [call for call in self.calls if call.method != "GET" and not call.path.endswith(reads)]

    # HOW IT ANSWERS --------------------------------------------------------------------------------------------------
    def answer(self, method: str, url: str, headers: dict[str, str], data: bytes) -> tuple[int, Resource | str]:
        """Answer one request."""
        parts = urllib.parse.urlsplit(url)
        query = {key: values[-1] for key, values in urllib.parse.parse_qs(parts.query).items()}
        if not parts.hostname or parts.netloc == self.address:
            return metadata.answer(self, parts.path, query)
        api = parts.hostname.removesuffix(".google.test").rpartition("-")[2]
        api = {"sql": "sqladmin"}.get(api, api)
        if not parts.hostname.endswith(".google.test"):
            self.strangers.append(url)
            return 403, {}
        if api == "sts":
            return metadata.exchange(self, data)
        path = urllib.parse.unquote(PREFIX.sub("", parts.path))
        try:
            body = json.loads(data) if data else {}
        except ValueError:
            body = {}
        caller = metadata.caller_of(headers)
        call = Call(method, api, path, query, body, data, caller)
        with self.lock:
            self.calls.append(call)
            if self.broken:
                return 400, {"error": {"code": 400, "status": "CANCELLED", "message": "broken off by the test"}}
            try:
                answer = self.respond(call)
            except RejectedError as no:
                self.refusals[f"{no.code} {no.status}: {re.sub(r'[0-9a-f]{8,}|v?[0-9]+', '#', str(no))}"] += 1
                return no.code, {"error": {"code": no.code, "status": no.status, "message": str(no)}}
            if self.after and call in self.changes():
                self.after(self, call)
            return 200, answer

    def respond(self, call: Call) -> Resource:
        """Check whether a request is allowed, do what it asks for and return the answer."""
        path = call.path.replace("projects/-/", f"projects/{PROJECT}/").replace("projects/_/", "")
        path = path.replace(f"projects/{NUMBER}", f"projects/{PROJECT}")
        path = path.replace(f"namespaces/{NUMBER}", f"namespaces/{PROJECT}")
        path, verb = VERB.fullmatch(path).groups()
        if path.endswith("/iam"):  # storage
            path, verb = path.removesuffix("/iam"), "setIamPolicy" if call.method == "PUT" else "getIamPolicy"
        for ending in ("authString", "storageLayout", "expandIpCidrRange"):
            if path.endswith(f"/{ending}"):
                path, verb = path.removesuffix(f"/{ending}"), ending
        if "operations/" not in path:
            self.require_api(call.api)
            self.require(call.caller, *resources.permission(call, path, verb))
            self.require_visible(call, path)
        if call.api == "run" and path.startswith((jobs.JOBS, jobs.EXECUTIONS)):
            return jobs.respond(self, call, path, verb)
        if call.api == "run" and path.startswith("namespaces/"):
            return services.respond(self, call, path)
        if call.api == "sqladmin" and "operations/" not in path:
            return sql.respond(self, call, path)
        return resources.respond(self, call, path, verb)

    def require(self, caller: str, permission: str, resource: str) -> None:
        """Check that a caller has a permission.

        Raises:
            RejectedError: If not.
        """
        if not self.may(caller, permission, resource):
            raise access.denied(permission, resource)

    def require_api(self, api: str) -> None:
        """Check that an API is enabled, and known to be.

        Raises:
            RejectedError: If not. https://cloud.google.com/apis/docs/troubleshooting
        """
        name = f"{api}.googleapis.com"
        if api in ALWAYS_ENABLED or (name in self.enabled and name not in self.fresh):
            return
        self.fresh.discard(name)
        raise RejectedError(
            403,
            "PERMISSION_DENIED",
            f"{name} has not been used in project {NUMBER} before or it is disabled. Enable it by visiting"
            f" https://console.developers.google.com/apis/api/{name}/overview?project={NUMBER} then retry. If you"
            " enabled this API recently, wait a few minutes for the action to propagate to our systems and retry.",
        )

    def require_visible(self, call: Call, path: str) -> None:
        """Check that the accounts that a request deals with exist and are visible.

        Raises:
            RejectedError: If not.
                https://github.com/google-github-actions/auth/blob/main/docs/TROUBLESHOOTING.md
        """
        found = re.findall(r"serviceAccount:([^\s\"',]+)", json.dumps(call.body.get("policy", call.body)))
        if call.method != "DELETE" and path.startswith(f"projects/{PROJECT}/serviceAccounts/"):
            found.append(path.rpartition("/")[2])
        for email in found:
            name = f"projects/{PROJECT}/serviceAccounts/{email}"
            if self.hidden.get(name, 0) > 0:
                self.hidden[name] -= 1
                raise RejectedError(400, "INVALID_ARGUMENT", f"Service account {email} does not exist.")
            if name not in self.resources and call.path.endswith("setIamPolicy") and email not in path:
                before = json.dumps(self.policies.get(path, {}))
                if email not in before:
                    raise RejectedError(400, "INVALID_ARGUMENT", f"Service account {email} does not exist.")
