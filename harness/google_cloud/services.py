"""What the stand-in does with Cloud Run's services: revisions, tags, labels and traffic, by Google's rules.

A revision is started by whatever the test gives for it: a real container where the test is about the app.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from harness.google_cloud.access import NUMBER, PROJECT, RejectedError
from harness.google_cloud.resources import created

if TYPE_CHECKING:
    from harness.google_cloud import Call, GoogleCloud

Resource = dict[str, Any]
SERVICES = f"namespaces/{PROJECT}/services"
REVISIONS = f"namespaces/{PROJECT}/revisions"
LONGEST = 46
"""Characters of a tag and a service's name together: the text of Cloud Run's own error."""


def respond(cloud: GoogleCloud, call: Call, path: str) -> Resource:
    """Create, replace, read, list or delete a service, or read revisions."""
    if call.method == "POST" and path == SERVICES:
        path = f"{SERVICES}/{call.body['metadata']['name']}"
        if path in cloud.resources:
            raise RejectedError(409, "ALREADY_EXISTS", f"{path} already exists")
        cloud.resources[path] = deploy(cloud, call, None)
    elif call.method == "PUT":
        if cloud.before_put:
            cloud.before_put(cloud, call)
        before = cloud.resources[path]
        based_on, current = call.body["metadata"].get("resourceVersion"), before["metadata"]["resourceVersion"]
        if based_on and based_on != current:
            reason = (
                f"Conflict for resource '{path.rpartition('/')[2]}': version '{based_on}' was specified but current"
            )
            raise RejectedError(409, "ABORTED", f"{reason} version is '{current}'.")
        cloud.resources[path] = deploy(cloud, call, before)
    elif call.method == "GET" and path in {SERVICES, REVISIONS}:
        found = [item for name, item in cloud.resources.items() if name.startswith(f"{path}/")]
        kind = "ServiceList" if path == SERVICES else "RevisionList"
        return {"kind": kind, "apiVersion": "serving.knative.dev/v1", "metadata": {}, "items": found}
    elif path not in cloud.resources:
        raise RejectedError(404, "NOT_FOUND", f"Resource '{path.rpartition('/')[2]}' of kind 'SERVICE' does not exist.")
    elif call.method == "DELETE":
        for name in [name for name in cloud.resources if name.startswith((path, f"{REVISIONS}/"))]:
            del cloud.resources[name]
        return {"status": "Success"}
    return cloud.resources[path]


def deploy(cloud: GoogleCloud, call: Call, before: Resource | None) -> Resource:
    """Make a service what it is wanted to be: start a revision if the template is new, then share out the traffic."""
    wanted = call.body
    name = wanted["metadata"]["name"]
    old = before["status"] if before else {"revisions": {}}
    generation = before["metadata"]["generation"] + 1 if before else 1
    template = wanted["spec"]["template"]
    revision = template["metadata"].get("name") or f"{name}-{generation:05}-abc"
    check(cloud, call, template, revision)
    addresses = dict(old["revisions"])
    problem = old.get("problem", "")
    known = cloud.resources.get(f"{REVISIONS}/{revision}")
    if known is None:
        problem = start(cloud, wanted, revision, addresses)
        labels = template["metadata"].get("labels", {}) | {"serving.knative.dev/service": name}
        state = {"status": "False", "message": problem} if problem else {"status": "True"}
        cloud.resources[f"{REVISIONS}/{revision}"] = {
            "kind": "Revision",
            "apiVersion": "serving.knative.dev/v1",
            "metadata": {
                "name": revision,
                "namespace": NUMBER,
                "labels": labels,
                "annotations": {},
                "creationTimestamp": created(),
            },
            "spec": template["spec"],
            "status": {
                "conditions": [{"type": kind} | state for kind in ("Ready", "ContainerHealthy", "ContainerReady")],
                "imageDigest": "",
            },
        }
    elif known["spec"] != template["spec"]:
        raise RejectedError(409, "ABORTED", f"Revision named '{revision}' with different configuration already exists.")
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


def check(cloud: GoogleCloud, call: Call, template: Resource, revision: str) -> None:
    """Check a service that is wanted against Cloud Run's rules.

    Raises:
        RejectedError: If it breaks one.
    """
    name = call.body["metadata"]["name"]
    require_act_as(cloud, call, template["spec"])
    if len(revision) > 63:  # noqa: PLR2004 - as for every DNS label
        raise RejectedError(400, "INVALID_ARGUMENT", f"metadata.name: {revision} has more than 63 characters")
    for target in call.body["spec"].get("traffic", []):
        if len(target.get("tag") or "") + len(name) > LONGEST:
            raise RejectedError(400, "INVALID_ARGUMENT", "Traffic tag and service name together exceed 46 characters.")
        wanted = target.get("revisionName")
        if wanted and wanted != revision and f"{REVISIONS}/{wanted}" not in cloud.resources:
            raise RejectedError(404, "NOT_FOUND", f"Revision '{wanted}' does not exist.")
    if sum(target.get("percent") or 0 for target in call.body["spec"].get("traffic", [])) not in {0, 100}:
        raise RejectedError(400, "INVALID_ARGUMENT", "Traffic percentages must add up to 100.")
    probe = template["spec"]["containers"][0].get("livenessProbe", {})
    if not 0 <= probe.get("initialDelaySeconds", 0) <= 3600:  # noqa: PLR2004
        raise RejectedError(400, "INVALID_ARGUMENT", "livenessProbe.initialDelaySeconds must be from 0 to 3600.")
    open_to_all = call.body["metadata"].get("annotations", {}).get("run.googleapis.com/invoker-iam-disabled", "")
    if open_to_all.lower() == "true":
        # Turning the check off takes the permission to say who may enter:
        # https://cloud.google.com/run/docs/authenticating/public
        service = f"projects/{PROJECT}/locations/us-central1/services/{name}"
        cloud.require(call.caller, "run.services.setIamPolicy", service)
        if "run.managed.requireInvokerIam" in cloud.constraints:
            reason = 'Operation denied by org policy: ["constraints/run.managed.requireInvokerIam"]'
            raise RejectedError(400, "FAILED_PRECONDITION", reason)


def require_act_as(cloud: GoogleCloud, call: Call, spec: Resource) -> None:
    """Check that a caller may deploy something that runs as its account.

    Raises:
        RejectedError: If not.
    """
    account = f"projects/{PROJECT}/serviceAccounts/{spec.get('serviceAccountName', '')}"
    if not cloud.may(call.caller, "iam.serviceAccounts.actAs", account):
        email = account.rpartition("/")[2]
        reason = f"Permission 'iam.serviceaccounts.actAs' denied on service account {email} (or it may not exist)."
        raise RejectedError(403, "PERMISSION_DENIED", reason)


def start(cloud: GoogleCloud, wanted: Resource, revision: str, addresses: dict[str, str]) -> str:
    """Start a revision as its own account; note its address, or return what went wrong."""
    template = wanted["spec"]["template"]
    if problem := trouble(cloud, template["spec"]):
        return problem
    try:
        description = described(cloud, template["spec"], template["metadata"].get("annotations", {}))
        proxied = wanted["metadata"].get("annotations", {}).get("run.googleapis.com/iap-enabled", "")
        addresses[revision] = cloud.start(description | {"proxied": proxied.lower() == "true"})
    except RuntimeError as error:
        return str(error)
    return ""


def described(cloud: GoogleCloud, spec: Resource, notes: Resource) -> Resource:
    """Describe a container as it is started.

    Args:
        cloud: The project.
        spec: What is to be started.
        notes: The annotations, which name the instances of Cloud SQL that it connects to.

    Returns:
        The container, with the values of its secrets, and under `sockets` the folders that it is given: those of the
        buckets that it mounts, and those with a database's socket, which an account without the permission to connect
        does not get: https://cloud.google.com/sql/docs/postgres/connect-run
    """
    container = json.loads(json.dumps(spec["containers"][0]))
    member = f"serviceAccount:{spec.get('serviceAccountName', '')}"
    for entry in container.get("env", []):
        if key := entry.pop("valueFrom", {}).get("secretKeyRef"):
            versions = cloud.resources[f"projects/{PROJECT}/secrets/{key['name']}"]["versions"]
            chosen = versions[-1] if key["key"] == "latest" else versions[int(key["key"]) - 1]
            entry |= {"value": base64.b64decode(chosen).decode(), "secret": key["name"]}
    container["sockets"] = {}
    volumes = {volume["name"]: volume["csi"]["volumeAttributes"] for volume in spec.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        about = volumes[mount["name"]]
        folder = cloud.folder / "buckets" / about["bucketName"]
        folder.mkdir(parents=True, exist_ok=True)
        # Cloud Storage FUSE lets the mounting user write, root, unless it is told who else:
        # https://cloud.google.com/storage/docs/cloud-storage-fuse/mount-bucket
        folder.chmod(0o777 if "uid=10001" in about.get("mountOptions", "").split(",") else 0o755)
        container["sockets"][mount["mountPath"]] = str(folder)
    for connection in filter(None, notes.get("run.googleapis.com/cloudsql-instances", "").split(",")):
        instance = f"projects/{PROJECT}/instances/{connection.rpartition(':')[2]}"
        may = cloud.may(member, "cloudsql.instances.connect", instance)
        if cloud.postgres and instance in cloud.resources and may:
            container["sockets"][f"/cloudsql/{connection}"] = str(cloud.copies.get(instance, cloud.postgres).sockets)
    return container


def trouble(cloud: GoogleCloud, spec: Resource) -> str:
    """Name the secrets and buckets that a container may not use, in Cloud Run's words; empty if it may use all."""
    container = spec["containers"][0]
    member = f"serviceAccount:{spec.get('serviceAccountName', '')}"
    for volume in spec.get("volumes", []):
        bucket = f"b/{volume['csi']['volumeAttributes']['bucketName']}"
        if bucket not in cloud.resources or not cloud.may(member, "storage.objects.list", bucket):
            # https://cloud.google.com/run/docs/configuring/services/cloud-storage-volume-mounts
            return f"The mount of the Cloud Storage volume {volume['name']} failed: permission denied on {bucket}."
    for entry in container.get("env", []):
        key = entry.get("valueFrom", {}).get("secretKeyRef")
        if key and not cloud.may(member, "secretmanager.versions.access", f"projects/{PROJECT}/secrets/{key['name']}"):
            email = member.partition(":")[2]
            return (
                f"Permission denied on secret: projects/{NUMBER}/secrets/{key['name']}/versions/{key['key']} for"
                f" Revision service account {email}. The service account used must be granted the 'Secret Manager"
                " Secret Accessor' role (roles/secretmanager.secretAccessor) at the secret, project or higher level."
            )
    return ""


def conditions(problem: str) -> list[Resource]:
    """Return the condition that gcloud waits for: whether the service is ready."""
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
            share = {key: value for key, value in target.items() if value is not None} | {"revisionName": revision}
            shares.append(share | {"url": addresses.get(revision, "")} if target.get("tag") else share)
    return shares
