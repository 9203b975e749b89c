"""The server behind the stand-in, and the environment in which the real gcloud talks to it."""

import json
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest

from harness.caches import CACHE
from harness.commands import run
from harness.google_cloud import metadata
from harness.google_cloud.access import NUMBER, PERSON, PROJECT
from harness.google_cloud.gcloud import fast_gcloud
from harness.google_cloud.requests import Requests

REFUSALS = CACHE / "refusals"
"""What was rejected in a test run, a line each, for the run's last lines."""

APIS = [
    *(
        "artifactregistry",
        "billingbudgets",
        "cloudbilling",
        "cloudbuild",
        "cloudresourcemanager",
        "compute",
        "iam",
        "iamcredentials",
    ),
    *(
        "logging",
        "monitoring",
        "orgpolicy",
        "redis",
        "run",
        "secretmanager",
        "servicenetworking",
        "serviceusage",
        "sql",
        "storage",
    ),
]

FOREIGN_PROPERTIES = {
    "CLOUDSDK_ARTIFACTS_LOCATION": "asia",
    "CLOUDSDK_BILLING_QUOTA_PROJECT": "another-project",
    "CLOUDSDK_BUILDS_REGION": "asia-east1",
    "CLOUDSDK_COMPUTE_REGION": "asia-east1",
    "CLOUDSDK_COMPUTE_ZONE": "asia-east1-a",
    "CLOUDSDK_CORE_DEFAULT_FORMAT": "json",
    "CLOUDSDK_CORE_DISABLE_PROMPTS": "false",
    "CLOUDSDK_CORE_USER_OUTPUT_ENABLED": "false",
    "CLOUDSDK_REDIS_REGION": "asia-east1",
    "CLOUDSDK_RUN_REGION": "asia-east1",
}
"""What somebody may have configured for another project: no command may depend on it."""


class GoogleCloud(Requests):
    """Google Cloud while it listens: a context."""

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
                cloud.outside_requests.append(self.path)
                self.send_error(403)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # the 5 of the standard library may overflow while the tests have the CPU

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.socket.settimeout(1)  # a connection may be gone before it is accepted
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

    def impersonated(self) -> dict[str, str]:
        """Let the person act as another owner of the project, and give what tells gcloud to.

        https://cloud.google.com/docs/authentication/use-service-account-impersonation
        """
        email = f"teammate@{PROJECT}.iam.gserviceaccount.com"
        member = f"serviceAccount:{email}"
        self.resources[f"projects/{PROJECT}/serviceAccounts/{email}"] = {"email": email}
        self.policies[f"projects/{PROJECT}"]["bindings"].append({"role": "roles/owner", "members": [member]})
        account = {"bindings": [{"role": "roles/iam.serviceAccountTokenCreator", "members": [PERSON]}]}
        self.policies[f"projects/{PROJECT}/serviceAccounts/{email}"] = account
        return {"CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": email}

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
            "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "1",
            "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "1",
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
            "POLL_SECONDS": "0.4",
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
