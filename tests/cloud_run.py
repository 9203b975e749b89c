"""What the stand-in for Google Cloud does with Cloud Run's services: revisions, tags and traffic, by Google's rules.

A revision is started by whatever the test gives for it: a real container where the test is about the app.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google_cloud import Call, GoogleCloud

Resource = dict[str, Any]

PROJECT = "my-project-123"


class RefusedError(Exception):
    """The API says no."""

    def __init__(self, code: int, status: str, message: str) -> None:
        """Say with which HTTP code, which status of Google's and why."""
        super().__init__(message)
        self.code, self.status = code, status


def respond(cloud: GoogleCloud, call: Call, path: str) -> Resource:
    """Create, replace, read, list or delete a service."""
    services = f"namespaces/{PROJECT}/services"
    if call.method == "POST" and path == services:
        path = f"{services}/{call.body['metadata']['name']}"
        if path in cloud.resources:
            raise RefusedError(409, "ALREADY_EXISTS", f"{path} is there already")
        cloud.resources[path] = deploy(cloud, call.body, None)
    elif call.method == "PUT":
        cloud.resources[path] = deploy(cloud, call.body, cloud.resources[path])
    elif call.method == "GET" and path == services:
        found = [item for name, item in cloud.resources.items() if name.startswith(f"{services}/")]
        return {"kind": "ServiceList", "apiVersion": "serving.knative.dev/v1", "metadata": {}, "items": found}
    elif path not in cloud.resources:
        raise RefusedError(404, "NOT_FOUND", f"{path} was not found")
    elif call.method == "DELETE":
        del cloud.resources[path]
        return {"status": "Success"}
    return cloud.resources[path]


def deploy(cloud: GoogleCloud, wanted: Resource, before: Resource | None) -> Resource:
    """Make a service what it is wanted to be: start a revision if the template is new, then share out the traffic."""
    name = wanted["metadata"]["name"]
    old = before["status"] if before else {"revisions": {}}
    generation = before["metadata"]["generation"] + 1 if before else 1
    template = wanted["spec"]["template"]
    revision = template["metadata"].get("name") or f"{name}-{generation:05}-abc"
    addresses = dict(old["revisions"])
    problem = old.get("problem", "")
    if revision not in addresses:
        problem = ""
        try:
            addresses[revision] = cloud.start(template["spec"]["containers"][0])
        except RuntimeError as error:
            problem = str(error)
    ready = revision if revision in addresses else old.get("latestReadyRevisionName", "")
    url = f"https://{name}-abcdefghij-uc.a.run.app"
    status = {
        "observedGeneration": generation,
        "url": url,
        "address": {"url": url},
        "latestCreatedRevisionName": revision,
        "conditions": conditions(problem),
        "revisions": addresses,
        "problem": problem,
        "traffic": traffic(
            wanted["spec"].get("traffic") or [{"latestRevision": True, "percent": 100}], ready, addresses
        ),
    }
    if ready:
        status["latestReadyRevisionName"] = ready
    metadata = wanted["metadata"] | {"generation": generation, "resourceVersion": f"v{generation}", "uid": "1"}
    return wanted | {"metadata": metadata, "status": status}


def conditions(problem: str) -> list[Resource]:
    """Tell gcloud, which waits for it, whether the service is ready."""
    state = {"status": "False", "reason": "RevisionFailed", "message": problem} if problem else {"status": "True"}
    return [
        {"type": "Ready"} | state,
        {"type": "ConfigurationsReady"} | state,
        {"type": "RoutesReady", "status": "True"},
    ]


def traffic(targets: list[Resource], ready: str, addresses: dict[str, str]) -> list[Resource]:
    """Resolve the targets that gcloud sent: `latestRevision` is the newest one that started, a tag is an address."""
    shares = []
    for target in targets:
        revision = ready if target.get("latestRevision") else target["revisionName"]
        if revision:
            share = target | {"revisionName": revision}
            shares.append(share | {"url": addresses.get(revision, "")} if target.get("tag") else share)
    return shares
