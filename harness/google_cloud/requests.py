"""How the stand-in answers a request: by whom, to which API, whether it is allowed, and which module does it."""

import json
import re
import urllib.parse

from harness.google_cloud import access, domains, jobs, metadata, peering, resources, services, sql
from harness.google_cloud.access import NUMBER, PROJECT, RejectedError
from harness.google_cloud.state import Call, Resource, State

ALWAYS_ENABLED = {"cloudresourcemanager", "cloudbilling", "logging", "serviceusage", "storage"}
"""Enabled in a new project, or used by gcloud without being enabled there."""

VERB = re.compile(r"(.*?)(?::([a-zA-Z]+))?")
VERSIONS = ["compute/v1", "storage/v1", "upload/storage/v1", "sql/v1beta4", r"v\d\w*"]
VERSIONS += [r"apis/domains\.cloudrun\.com/v1", r"apis/serving\.knative\.dev/v1", r"apis/run\.googleapis\.com/v1"]
PREFIX = re.compile(f"^/({'|'.join(VERSIONS)})/")


def require_own_quota(headers: dict[str, str]) -> None:
    """Check that no other project shall pay for a request: nobody here may have that.

    Raises:
        RejectedError: If one shall. https://cloud.google.com/docs/quotas/set-quota-project
    """
    payer = {name.lower(): value for name, value in headers.items()}.get("x-goog-user-project", PROJECT)
    if payer not in {PROJECT, NUMBER}:
        raise RejectedError(
            403,
            "PERMISSION_DENIED",
            f"Caller does not have required permission to use project {payer}. Grant the caller the"
            " roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use"
            f" permission, by visiting https://console.developers.google.com/iam-admin/iam/project?project={payer}"
            " and then retry. Propagation of the new permission may take a few minutes.",
        )


class Requests(State):
    """Answers requests from the state, and changes it."""

    def answer(self, method: str, url: str, headers: dict[str, str], data: bytes) -> tuple[int, Resource | str]:
        """Answer one request."""
        parts = urllib.parse.urlsplit(url)
        query = {key: values[-1] for key, values in urllib.parse.parse_qs(parts.query).items()}
        if not parts.hostname or parts.netloc == self.address:
            return metadata.answer(self, parts.path, query)
        api = parts.hostname.removesuffix(".google.test").rpartition("-")[2]
        api = {"sql": "sqladmin"}.get(api, api)
        if not parts.hostname.endswith(".google.test"):
            self.outside_requests.append(url)
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
            self.requests_left -= 1
            if self.requests_left < 0:
                return 400, {"error": {"code": 400, "status": "CANCELLED", "message": "broken off by the test"}}
            try:
                require_own_quota(headers)
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
        if call.method == "GET" and path.endswith(tuple(self.failing)):
            raise RejectedError(429, "RESOURCE_EXHAUSTED", "failed by the test")
        if "operations/" not in path:
            self.require_api(call.api)
            self.require(call.caller, *resources.permission(call, path, verb))
            self.require_visible(call, path)
        return self.dispatch(call, path, verb)

    def dispatch(self, call: Call, path: str, verb: str | None) -> Resource:
        """Have the module answer whose resource a request is about."""
        if call.api == "servicenetworking":
            return peering.respond(self, call, path, verb)
        if call.api == "run" and path.startswith((jobs.JOBS, jobs.EXECUTIONS)):
            return jobs.respond(self, call, path, verb)
        if call.api == "run" and path.startswith((domains.MAPPINGS, domains.VERIFIED)):
            return domains.respond(self, call, path)
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
