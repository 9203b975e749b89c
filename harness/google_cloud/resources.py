"""What the stand-in does with a project's resources, of any kind: create, read, list, change, delete, policies."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any

from harness.google_cloud import access, metadata
from harness.google_cloud.access import NUMBER, PROJECT, RejectedError

if TYPE_CHECKING:
    from harness.google_cloud import Call, GoogleCloud

Resource = dict[str, Any]

PLAIN_NAMES = {"cloudbuild", "compute", "storage"}
"""Those whose resources are not named by their whole path."""
COLLECTIONS = {
    *(
        "addresses",
        "repositories",
        "serviceAccounts",
        "instances",
        "secrets",
        "triggers",
        "networks",
        "subnetworks",
        "b",
        "o",
    ),
    *("workloadIdentityPools", "providers", "regions", "zones", "versions", "builds", "managedFolders", "services"),
    *(
        "revisions",
        "jobs",
        "executions",
        "databases",
        "users",
        "domainmappings",
        "authorizeddomains",
        *("alertPolicies", "notificationChannels", "budgets"),
    ),
}
BILLING = "012345-6789AB-CDEF01"
NUMBERED = {"alertPolicies", "notificationChannels", "budgets"}
"""Collections in which Google chooses the names."""
DONE = {"name": "operations/operation-1", "done": True}
COMPUTE = "http://compute.google.test/compute/v1"


def is_list(call: Call, path: str, verb: str | None) -> bool:
    """Return whether a request is about a collection."""
    return verb is None and path.rpartition("/")[2] in COLLECTIONS and call.method in {"GET", "POST"}


def permission(call: Call, path: str, verb: str | None) -> tuple[str, str]:
    """Return which permission a request needs, and on what."""
    of_project = {
        "logging": "logging.logEntries.list",
        "orgpolicy": "orgpolicy.policy.get",
        "servicenetworking": "servicenetworking.services.addPeering",
        "testIamPermissions": "resourcemanager.projects.get",
        "generateServiceIdentity": "serviceusage.services.enable",
    }
    if found := of_project.get(call.api) or of_project.get(verb or ""):
        return found, f"projects/{PROJECT}"
    if call.api == "iamcredentials":
        kinds = {"generateAccessToken": "getAccessToken", "generateIdToken": "getOpenIdToken", "signJwt": "signJwt"}
        kind = kinds[verb]
        return f"iam.serviceAccounts.{kind}", path
    if call.api == "cloudbuild" and "/triggers" in path:
        return f"cloudbuild.builds.{'create' if call.method == 'POST' else 'get'}", path
    if call.api == "run":
        path = re.sub(
            r"^namespaces/", f"projects/{PROJECT}/locations/us-central1/", path.replace(f"/{PROJECT}/", "/", 1)
        )
    needed = access.needed(call.api, call.method, path, verb, is_list=is_list(call, path, verb))
    return needed, path


def respond(cloud: GoogleCloud, call: Call, path: str, verb: str | None) -> Resource:
    """Do what an allowed request asks for and return the answer; what is special of one API comes first."""
    special = [
        (verb in {"getIamPolicy", "setIamPolicy"}, policy),
        (verb == "generateServiceIdentity", create_agent),
        (verb == "testIamPermissions", may),
        (call.api == "serviceusage", enable),
        (call.api == "secretmanager" and ("/versions/" in path or verb == "addVersion"), secret_version),
        (call.api == "iamcredentials", impersonate),
        (call.api == "logging", log_entries),
        (call.api == "orgpolicy", organization_policy),
        (
            call.api == "cloudbilling",
            lambda *_: {"billingEnabled": True, "billingAccountName": f"billingAccounts/{BILLING}"},
        ),
        (call.api == "storage" and call.query.get("alt") == "media", download),
        (verb == "undelete", undelete),
        (verb == "expandIpCidrRange", expand),
        (verb == "storageLayout", lambda *_: {}),
        (verb == "authString", lambda *_: {"authString": "a-password"}),
        ("operations/" in path, lambda *_: DONE | {"status": "DONE", "operationType": "insert"}),
    ]
    return next((handler for applies, handler in special if applies), resource)(cloud, call, path)


def enable(cloud: GoogleCloud, call: Call, path: str) -> Resource:
    """Enable APIs, list those that are, or return whether one is."""
    for name in call.body.get("serviceIds", []):
        if name not in cloud.enabled and cloud.hesitant:
            cloud.fresh.add(name)
        cloud.enabled.add(name)
    if call.method == "GET" and path.endswith("/services"):
        return {"services": [{"config": {"name": name}, "state": "ENABLED"} for name in sorted(cloud.enabled)]}
    return DONE | {"state": "ENABLED" if path.rpartition("/")[2] in cloud.enabled else "DISABLED"}


def log_entries(cloud: GoogleCloud, call: Call, _: str) -> Resource:
    """List the lines of a build's log, or the entries of the app's, as `gcloud logging read` asks for them.

    The filters are those of this project's commands: https://cloud.google.com/logging/docs/view/logging-query-language
    """
    wanted = call.body["filter"]
    newest_first = call.body.get("orderBy", "").endswith("desc")
    if "resource.type=cloud_run_revision" in wanted:
        found = re.search(r"revision_name=(\S+)", wanted)
        entries = [
            entry
            for entry in cloud.app_log
            if (not found or entry["resource"]["labels"]["revision_name"] == found[1])
            and ("severity>=ERROR" not in wanted or is_error(entry))
        ]
        return {"entries": (entries[::-1] if newest_first else entries)[: call.body.get("pageSize", 1000)]}
    of = re.search(r"build_id=(\S+)|labels.job_name=(\S+)", wanted)
    lines = cloud.logs.get(of[1] or f"job {of[2]}", "").splitlines()
    lines = (lines[::-1] if newest_first else lines)[: call.body.get("pageSize", 1000)]
    return {"entries": [{"textPayload": line, "insertId": str(number)} for number, line in enumerate(lines)]}


def is_error(entry: Resource) -> bool:
    """Return whether an entry of the app's log is an error or belongs to an answer of 500 or more."""
    return entry.get("severity") in {"ERROR", "CRITICAL"} or entry.get("httpRequest", {}).get("status", 0) >= 500  # noqa: PLR2004


def organization_policy(cloud: GoogleCloud, _: Call, path: str) -> Resource:
    """Return whether a constraint of the organization holds."""
    name = path.rpartition("/policies/")[2]
    return {"name": path, "spec": {"rules": [{"enforce": name in cloud.constraints}]}}


def may(cloud: GoogleCloud, call: Call, path: str) -> Resource:
    """Return which of some permissions the caller has: https://cloud.google.com/iam/docs/testing-permissions."""
    return {"permissions": [each for each in call.body["permissions"] if cloud.may(call.caller, each, path)]}


def create_agent(cloud: GoogleCloud, _: Call, path: str) -> Resource:
    """Create the account as which a service of Google's acts in the project."""
    name = {"iap": "gcp-sa-iap"}[path.rpartition("/")[2].partition(".")[0]]
    email = f"service-{NUMBER}@{name}.iam.gserviceaccount.com"
    cloud.resources[f"projects/{PROJECT}/serviceAccounts/{email}"] = {"email": email}
    return DONE | {"response": {"email": email, "uniqueId": "1"}}


def impersonate(_: GoogleCloud, call: Call, path: str) -> Resource:
    """Give a caller who may the access token of an account, or sign claims in its name."""
    if call.path.endswith(":signJwt"):
        return {"keyId": "1", "signedJwt": metadata.unsigned(json.loads(call.body["payload"]))}
    member = f"serviceAccount:{path.rpartition('/')[2]}"
    return {"accessToken": metadata.token_of(member), "expireTime": "2999-01-01T00:00:00Z"}


def undelete(cloud: GoogleCloud, _: Call, path: str) -> Resource:
    """Bring back what Google keeps for 30 days."""
    cloud.resources[path]["state"] = "ACTIVE"
    return DONE | {"response": cloud.resources[path]}


def expand(cloud: GoogleCloud, call: Call, path: str) -> Resource:
    """Make a network's range of addresses larger, never smaller: the rule of Compute Engine."""
    found = cloud.resources[path]
    base, _, old = found["ipCidrRange"].partition("/")
    new = int(call.body["ipCidrRange"].partition("/")[2])
    if new >= int(old):
        raise RejectedError(400, "INVALID_ARGUMENT", "The new range must be larger than the old one.")
    found["ipCidrRange"] = f"{base}/{new}"
    return operation(cloud, call, path)


def resource(cloud: GoogleCloud, call: Call, path: str) -> Resource:
    """Create, read, list, change or delete a resource.

    Raises:
        RejectedError: If there is no such thing, or there is one already.
    """
    if call.method == "POST":
        return (number if path.rpartition("/")[2] in NUMBERED else create)(cloud, call, path)
    if call.method == "GET" and path.rpartition("/")[2] in COLLECTIONS:
        items = [item for name, item in cloud.resources.items() if name.rpartition("/")[0] == path]
        kind = {"serviceAccounts": "accounts"}.get(path.rpartition("/")[2], path.rpartition("/")[2])
        return {kind: items, "items": items}
    if path not in cloud.resources:
        raise RejectedError(404, "NOT_FOUND", f"{path} was not found")
    if call.method == "PATCH":
        cloud.resources[path] |= call.body
        if "/workloadIdentityPools/" in path:
            return operation(cloud, call, path)
    elif call.method == "DELETE" and "/workloadIdentityPools/" in path:
        cloud.resources[path]["state"] = "DELETED"  # Google keeps it for 30 days
        return operation(cloud, call, path)
    elif call.method == "DELETE":
        if path in cloud.busy:
            used = f"The subnetwork resource '{path}' is already being used by 'serverless-ipv4-1'"
            raise RejectedError(400, "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE", used)
        for name in [name for name in cloud.resources if name == path or name.startswith(path + "/")]:
            del cloud.resources[name]
        cloud.policies.pop(path, None)
        return operation(cloud, call, path)
    return cloud.resources[path]


def create(cloud: GoogleCloud, call: Call, collection: str) -> Resource:
    """Create a resource; its name is in the query, in the body or both.

    Raises:
        RejectedError: If there is one already, or the organization does not allow it.
            https://cloud.google.com/secret-manager/docs/choosing-replication
    """
    body = dict(call.body)
    if "automatic" in body.get("replication", {}) and "gcp.resourceLocations" in cloud.constraints:
        reason = f"Constraint constraints/gcp.resourceLocations violated for {PROJECT} attempting to use [global]."
        raise RejectedError(400, "FAILED_PRECONDITION", reason)
    name = next((value for key, value in call.query.items() if key.endswith("Id")), None) or body.get("name")
    if call.api == "storage" and call.data.startswith(b"--"):
        content = upload(call.data)
        name = call.query["name"]
        body = describe(content) | {"bucket": collection.split("/")[1]}
        cloud.objects[f"{collection}/{name}"] = content
    if "accountId" in body:
        name = f"{body['accountId']}@{PROJECT}.iam.gserviceaccount.com"
        body = body["serviceAccount"] | {"email": name}
        cloud.hidden[f"{collection}/{name}"] = cloud.unseen
    path = f"{collection}/{name}"
    if collection.endswith("/builds"):
        return build(cloud, call)
    if path in cloud.resources and call.api != "storage":
        raise RejectedError(409, "ALREADY_EXISTS", f"{path} already exists")
    cloud.resources[path] = body | {"name": name if call.api in PLAIN_NAMES else path, "state": "ACTIVE"}
    if call.api == "redis":
        cloud.resources[path] |= {"host": "10.8.1.3", "state": "READY"}
    if call.api == "compute":
        link = {"selfLink": f"{COMPUTE}/{path}", "region": f"{COMPUTE}/{collection.rpartition('/')[0]}"}
        cloud.resources[path] |= link | {"fingerprint": "abc="}
    if collection.endswith("/triggers"):
        cloud.resources[path] |= {"id": "trigger-1"}
    if "serviceAccounts" in collection or call.api in PLAIN_NAMES - {"compute"}:
        return cloud.resources[path]
    return operation(cloud, call, path)


def number(cloud: GoogleCloud, call: Call, collection: str) -> Resource:
    """Create a resource whose name Google chooses: an alert, an address to write to, a budget.

    Raises:
        RejectedError: If it breaks a rule of Cloud Monitoring's.
            https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies
    """
    body = call.body
    for channel in body.get("notificationChannels", []):
        if channel not in cloud.resources:
            raise RejectedError(404, "NOT_FOUND", f"The notification channel {channel} does not exist.")
    for condition in body.get("conditions", []):
        if "conditionMatchedLog" in condition and "notificationRateLimit" not in body.get("alertStrategy", {}):
            reason = "Field alert_strategy.notification_rate_limit is required for a log match condition."
            raise RejectedError(400, "INVALID_ARGUMENT", reason)
        threshold = condition.get("conditionThreshold", {})
        if threshold and "resource.type" not in threshold["filter"]:
            raise RejectedError(400, "INVALID_ARGUMENT", "The filter must restrict resource.type to one value.")
    path = f"{collection}/{len([each for each in cloud.resources if each.startswith(collection)]) + 1}"
    cloud.resources[path] = body | {"name": path}
    return cloud.resources[path]


def build(cloud: GoogleCloud, call: Call) -> Resource:
    """Take a build and have it run, if somebody does; its caller has to be allowed to act as its account.

    Raises:
        RejectedError: If not. https://cloud.google.com/build/docs/securing-builds/configure-user-specified-service-accounts
    """
    call.body["serviceAccount"] = call.body["serviceAccount"].replace("${PROJECT_ID}", PROJECT)
    account = f"projects/{PROJECT}/serviceAccounts/{call.body['serviceAccount'].rpartition('/')[2]}"
    if not cloud.may(call.caller, "iam.serviceAccounts.actAs", account):
        raise RejectedError(
            403, "PERMISSION_DENIED", f"caller does not have permission to act as service account {account}"
        )
    number = f"{len([name for name in cloud.resources if '/builds/' in name]) + 1:08x}-0000-4000-8000-000000000000"
    # The address may name a location or not: the build is one.
    path = f"projects/{PROJECT}/locations/global/builds/{number}"
    log = f"https://console.google.test/{number}"
    cloud.resources[path] = call.body | {
        "id": number,
        "status": "QUEUED" if cloud.builder else "SUCCESS",
        "logUrl": log,
        "createTime": created(),
        "projectId": PROJECT,
        "name": f"projects/{PROJECT}/locations/global/builds/{number}",
    }
    cloud.resources[f"projects/{PROJECT}/builds/{number}"] = cloud.resources[path]
    if cloud.builder:
        threading.Thread(target=cloud.builder, args=(cloud, number, cloud.resources[path]), daemon=True).start()
    kind = "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata"
    return DONE | {"name": f"operations/build/{number}", "metadata": {"@type": kind, "build": cloud.resources[path]}}


def operation(cloud: GoogleCloud, call: Call, path: str) -> Resource:
    """Say that something that takes time in Google's cloud is done."""
    parent = path.rpartition("/")[0].rpartition("/")[0]
    answer = DONE | {"name": f"{parent}/operations/operation-1"}
    if call.api != "compute":
        return answer | {"response": cloud.resources.get(path, {})}
    kind = "delete" if call.method == "DELETE" else "insert"
    names = {"name": "operation-1", "selfLink": f"{COMPUTE}/{parent}/operations/operation-1"}
    names |= {"targetLink": f"{COMPUTE}/{path}"} | ({"region": f"{COMPUTE}/{parent}"} if "/regions/" in path else {})
    return {"kind": "compute#operation", "operationType": kind, "status": "DONE"} | names


def policy(cloud: GoogleCloud, call: Call, path: str) -> Resource:
    """Read or replace who may do what with a resource.

    Raises:
        RejectedError: If the organization does not allow a member of it.
            https://cloud.google.com/resource-manager/docs/organization-policy/restricting-domains
    """
    if call.method == "PUT" or call.path.endswith(":setIamPolicy"):
        wanted = call.body.get("policy", call.body)
        if "iam.allowedPolicyMemberDomains" in cloud.constraints and '"allUsers"' in json.dumps(wanted):
            reason = "One or more users named in the policy do not belong to a permitted customer."
            raise RejectedError(400, "FAILED_PRECONDITION", reason)
        cloud.policies[path] = wanted
    return cloud.policies.get(path, {}) | {"etag": "BwXhqhZ1bZ4="}


def secret_version(cloud: GoogleCloud, call: Call, path: str) -> Resource:
    """Add a version to a secret, look one up, or read it.

    Raises:
        RejectedError: If there is no such version.
    """
    secret, _, number = path.partition("/versions/")
    if secret not in cloud.resources:
        raise RejectedError(404, "NOT_FOUND", f"Secret [{secret}] not found.")
    versions = cloud.resources[secret].setdefault("versions", [])
    if call.path.endswith(":addVersion"):
        versions.append(call.body["payload"]["data"])
        number = str(len(versions))
    number = str(len(versions)) if number == "latest" else number
    if not 1 <= int(number) <= len(versions):
        raise RejectedError(404, "NOT_FOUND", f"Secret Version [{path}] not found.")
    name = f"{secret}/versions/{number}"
    if call.path.endswith(":access"):
        return {"name": name, "payload": {"data": versions[int(number) - 1]}}
    return {"name": name, "state": "ENABLED", "clientSpecifiedPayloadChecksum": True}


def download(_: GoogleCloud, __: Call, path: str) -> Resource:
    """Give an object's content; nobody here asks for one."""
    raise RejectedError(404, "NOT_FOUND", f"No such object: {path}")


def upload(data: bytes) -> bytes:
    """Take an object's content out of a request: it is the second of two parts, after its description."""
    boundary = re.match(rb"--[^\r\n]+", data)[0]
    content = re.split(rb"\r?\n\r?\n", data.split(boundary)[2], maxsplit=1)[1]
    return re.sub(rb"\r?\n$", b"", content)


def describe(content: bytes) -> Resource:
    """Describe an object."""
    md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    return {"size": str(len(content)), "md5Hash": md5, "generation": "1"}


def created(seconds_ago: float = 0) -> str:
    """Write a time as Google's APIs do."""
    now = time.time() - seconds_ago
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06}Z"
