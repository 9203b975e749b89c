"""A stand-in for Google Cloud's API on the loopback, for the real gcloud: records what it is sent and remembers it.

gcloud reaches it as a proxy, under made-up host names such as run.google.test, so that nothing can leave the machine:
an address that is not overridden comes here too, is refused and stands in `refused`.
"""

import base64
import functools
import hashlib
import json
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import cloud_run
import pytest
from cloud_run import PROJECT, RefusedError
from house import run

Resource = dict[str, Any]

APIS = [
    *("artifactregistry", "cloudbuild", "cloudresourcemanager", "compute", "iam", "redis", "run", "secretmanager"),
    *("serviceusage", "storage"),
]
PLAIN_NAMES = {"cloudbuild", "compute", "storage"}
"""Those whose resources are not named by their whole path."""
COLLECTIONS = {
    *("repositories", "serviceAccounts", "instances", "secrets", "triggers", "networks", "subnetworks", "b", "o"),
    *("workloadIdentityPools", "providers", "regions", "zones", "versions", "builds", "managedFolders"),
}
VERB = re.compile(r"(.*?)(?::(getIamPolicy|setIamPolicy|batchEnable|addVersion|access|undelete))?")
DONE = {"name": "operations/operation-1", "done": True}

NUMBER = "123456789012"
TOKENS = "http://oauth2.google.test/token"

#: What these call when a revision is deployed: gets the container's description, returns its address, or raises.
Start = Callable[[Resource], str]


@dataclass
class Call:
    """One request that gcloud made."""

    method: str
    api: str
    path: str
    query: dict[str, str]
    body: Resource
    data: bytes = b""


@dataclass
class GoogleCloud:
    """The project's resources by path, its policies by path, and the requests so far."""

    folder: Path
    start: Start = lambda _: "http://localhost:1"
    resources: dict[str, Resource] = field(default_factory=dict)
    policies: dict[str, Resource] = field(default_factory=dict)
    enabled: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Start to listen; without gcloud there is nothing to test, and the report says so."""
        if shutil.which("gcloud") is None:
            pytest.skip("gcloud is not installed, so nothing shows what Google's API would get")
        self.resources[f"projects/{PROJECT}"] = {"projectId": PROJECT, "projectNumber": NUMBER, "name": PROJECT}
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                code, body = cloud.answer(self.command, self.path, self.rfile.read(length))
                data = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

            def do_CONNECT(self) -> None:
                cloud.refused.append(self.path)
                self.send_error(403)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()

    # WHAT GCLOUD NEEDS -----------------------------------------------------------------------------------------------
    def environment(self) -> dict[str, str]:
        """Give the environment that points the real gcloud here, as a service account with a key made for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        key = self.folder / "key.json"
        if not key.exists():
            made = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True)
            email = f"somebody@{PROJECT}.iam.gserviceaccount.com"
            account = {"type": "service_account", "project_id": PROJECT, "private_key_id": "1", "client_id": "1"}
            account |= {"private_key": made.stdout, "client_email": email, "token_uri": TOKENS}
            key.write_text(json.dumps(account))
        proxy = f"http://127.0.0.1:{self.server.server_address[1]}"
        return {
            "CLOUDSDK_CONFIG": str(self.folder / "config"),
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": str(key),
            "CLOUDSDK_AUTH_TOKEN_HOST": TOKENS,
            "http_proxy": proxy,
            "https_proxy": proxy,
        } | {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": f"http://{api}.google.test/" for api in APIS}

    def run(self, *command: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command whose gcloud talks to this; its output, both streams together, is in `stdout`."""
        return run(*command, cwd=cwd, **(self.environment() | more))

    # WHAT IT KNOWS ---------------------------------------------------------------------------------------------------
    def service(self, name: str) -> Resource:
        """Look a Cloud Run service up."""
        return self.resources[f"namespaces/{PROJECT}/services/{name}"]

    def traffic(self, name: str) -> dict[str, int]:
        """Tell which revisions of a service get how many percent."""
        shares = self.service(name)["status"]["traffic"]
        return {share["revisionName"]: share["percent"] for share in shares if share.get("percent")}

    def members(self, path: str, role: str) -> list[str]:
        """List who has a role on a resource, or on the project if the path is its own."""
        bindings = self.policies.get(path, {}).get("bindings", [])
        return sorted(member for binding in bindings if binding["role"] == role for member in binding["members"])

    def changes(self) -> list[Call]:
        """List the requests that change something."""
        return [
            call for call in self.calls if call.method != "GET" and not call.path.endswith((":getIamPolicy", "/token"))
        ]

    # HOW IT ANSWERS --------------------------------------------------------------------------------------------------
    def answer(self, method: str, url: str, data: bytes) -> tuple[int, Resource]:
        """Answer one request."""
        parts = urllib.parse.urlsplit(url)
        api = (parts.hostname or "").removesuffix(".google.test").rpartition("-")[2]
        if not (parts.hostname or "").endswith(".google.test"):
            self.refused.append(url)
            return 403, {}
        query = {key: values[-1] for key, values in urllib.parse.parse_qs(parts.query).items()}
        if api == "oauth2":
            return 200, token(urllib.parse.parse_qs(data.decode()))
        prefix = r"^/(compute/v1|storage/v1|upload/storage/v1|apis/serving\.knative\.dev/v1|v\d\w*)/"
        path = urllib.parse.unquote(re.sub(prefix, "", parts.path))
        try:
            body = json.loads(data) if data else {}
        except ValueError:
            body = {}
        self.calls.append(Call(method, api, path, query, body, data))
        try:
            return 200, self.respond(self.calls[-1])
        except RefusedError as no:
            return no.code, {"error": {"code": no.code, "status": no.status, "message": str(no)}}

    def respond(self, call: Call) -> Resource:
        """Do what a request asks for and return the answer; what is special of one API comes first."""
        path = call.path.replace("projects/-/", f"projects/{PROJECT}/").replace("projects/_/", "")
        path, verb = VERB.fullmatch(path).groups()
        special = [
            (verb in {"getIamPolicy", "setIamPolicy"} or path.endswith("/iam"), self.policy),
            (call.api == "run" and path.startswith("namespaces/"), functools.partial(cloud_run.respond, self)),
            (call.api == "serviceusage", self.enable),
            (call.api == "secretmanager" and ("/versions/" in path or verb == "addVersion"), self.secret_version),
            (verb == "undelete", self.undelete),
            (path.endswith("/storageLayout"), lambda *_: {}),
            (path.endswith("/authString"), lambda *_: {"authString": "a-password"}),
            ("operations/" in path, lambda *_: DONE | {"status": "DONE", "operationType": "insert"}),
        ]
        return next((handler for applies, handler in special if applies), self.resource)(call, path)

    def enable(self, call: Call, path: str) -> Resource:
        """Turn APIs on, or tell whether one is on."""
        self.enabled.update(call.body.get("serviceIds", []))
        return DONE | {"state": "ENABLED" if path.rpartition("/")[2] in self.enabled else "DISABLED"}

    def undelete(self, _: Call, path: str) -> Resource:
        """Bring back what Google keeps for 30 days."""
        self.resources[path]["state"] = "ACTIVE"
        return DONE | {"response": self.resources[path]}

    def resource(self, call: Call, path: str) -> Resource:
        """Create, read, list, change or delete a resource.

        Raises:
            RefusedError: If there is no such thing, or there is one already.
        """
        if call.method == "POST":
            return self.create(call, path)
        if call.method == "GET" and path.rpartition("/")[2] in COLLECTIONS:
            items = [item for name, item in self.resources.items() if name.rpartition("/")[0] == path]
            return {path.rpartition("/")[2]: items, "items": items}
        if path not in self.resources:
            raise RefusedError(404, "NOT_FOUND", f"{path} was not found")
        if call.method == "PATCH":
            self.resources[path] |= call.body
        elif call.method == "DELETE" and "/workloadIdentityPools/" in path:
            self.resources[path]["state"] = "DELETED"  # Google keeps it for 30 days
            return self.operation(call, path)
        elif call.method == "DELETE":
            for name in [name for name in self.resources if name == path or name.startswith(path + "/")]:
                del self.resources[name]
            self.policies.pop(path, None)
            return self.operation(call, path)
        return self.resources[path]

    def create(self, call: Call, collection: str) -> Resource:
        """Create a resource; its name is in the query, in the body or both."""
        body = dict(call.body)
        name = next((value for key, value in call.query.items() if key.endswith("Id")), None) or body.get("name")
        if call.api == "storage" and call.data.startswith(b"--"):
            body = uploaded(call.data) | {"bucket": collection.split("/")[1]}
            name = call.query["name"]
        if "accountId" in body:
            name = f"{body['accountId']}@{PROJECT}.iam.gserviceaccount.com"
            body = body["serviceAccount"] | {"email": name}
        path = f"{collection}/{name}"
        if path in self.resources:
            raise RefusedError(409, "ALREADY_EXISTS", f"{path} is there already")
        self.resources[path] = body | {"name": name if call.api in PLAIN_NAMES else path, "state": "ACTIVE"}
        if call.api == "redis":
            self.resources[path] |= {"host": "10.8.1.3", "state": "READY"}
        if call.api == "compute":
            link = "http://compute.google.test/compute/v1"
            self.resources[path] |= {"selfLink": f"{link}/{path}", "region": f"{link}/{collection.rpartition('/')[0]}"}
        if collection.endswith("/builds"):
            return self.build(path, body)
        if collection.endswith("/triggers"):
            self.resources[path] |= {"id": "trigger-1"}
        if "serviceAccounts" in collection or call.api in PLAIN_NAMES - {"compute"}:
            return self.resources[path]
        return self.operation(call, path)

    def build(self, path: str, body: Resource) -> Resource:
        """Take a build, which is done at once."""
        path = path.replace("None", "build-1")
        self.resources[path] = body | {
            "id": "build-1",
            "status": "SUCCESS",
            "logUrl": "https://console.google.test/build-1",
        }
        kind = "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata"
        return DONE | {"metadata": {"@type": kind, "build": self.resources[path]}}

    def operation(self, call: Call, path: str) -> Resource:
        """Say that something that takes time in Google's cloud is done."""
        parent = path.rpartition("/")[0].rpartition("/")[0]
        answer = DONE | {"name": f"{parent}/operations/operation-1"}
        if call.api != "compute":
            return answer | {"response": self.resources.get(path, {})}
        link = "http://compute.google.test/compute/v1"
        kind = "delete" if call.method == "DELETE" else "insert"
        names = {"name": "operation-1", "selfLink": f"{link}/{parent}/operations/operation-1"}
        names |= {"targetLink": f"{link}/{path}"} | ({"region": f"{link}/{parent}"} if "/regions/" in path else {})
        return {"kind": "compute#operation", "operationType": kind, "status": "DONE"} | names

    def policy(self, call: Call, path: str) -> Resource:
        """Read or replace who may do what with a resource."""
        path = path.removesuffix("/iam")
        if call.method == "PUT" or call.path.endswith(":setIamPolicy"):
            self.policies[path] = call.body.get("policy", call.body)
        return self.policies.get(path, {}) | {"etag": "BwXhqhZ1bZ4="}

    def secret_version(self, call: Call, path: str) -> Resource:
        """Add a version to a secret, look one up, or read it.

        Raises:
            RefusedError: If there is no such version.
        """
        secret, _, number = path.partition("/versions/")
        if secret not in self.resources:
            raise RefusedError(404, "NOT_FOUND", f"Secret [{secret}] not found.")
        versions = self.resources[secret].setdefault("versions", [])
        if call.path.endswith(":addVersion"):
            versions.append(call.body["payload"]["data"])
            number = str(len(versions))
        number = str(len(versions)) if number == "latest" else number
        if not 1 <= int(number) <= len(versions):
            raise RefusedError(404, "NOT_FOUND", f"Secret Version [{path}] not found.")
        name = f"{secret}/versions/{number}"
        if call.path.endswith(":access"):
            return {"name": name, "payload": {"data": versions[int(number) - 1]}}
        return {"name": name, "state": "ENABLED", "clientSpecifiedPayloadChecksum": True}


def uploaded(data: bytes) -> Resource:
    """Describe an object that came as the second of two parts, after its description."""
    boundary = re.match(rb"--[^\r\n]+", data)[0]
    content = re.split(rb"\r?\n\r?\n", data.split(boundary)[2], maxsplit=1)[1]
    content = re.sub(rb"\r?\n$", b"", content)
    md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    return {"size": str(len(content)), "md5Hash": md5, "generation": "1"}


def token(form: dict[str, list[str]]) -> Resource:
    """Make an access token, and an identity token for the audience that is asked for."""
    payload = form["assertion"][0].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    now = int(time.time())
    answer = {"access_token": "an-access-token", "expires_in": 3600, "token_type": "Bearer"}
    if audience := claims.get("target_audience"):
        content = {"aud": audience, "iat": now, "exp": now + 3600, "iss": "https://accounts.google.com", "sub": "1"}
        encoded = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
            for part in ({"alg": "RS256"}, content)
        ]
        answer["id_token"] = ".".join([*encoded, "c2lnbmF0dXJl"])
    return answer
