"""Who may do what in the stand-in's project: Google's roles, and the permission that each request needs.

A request is allowed only by a permission of a role that the caller was granted on the resource, on what contains it, or
on the project. The roles are those that a project's deploy/setup grants, with the permissions that matter here; each
names the page of Google's that it was read from.
"""

import re
from dataclasses import dataclass

PROJECT = "my-project-123"
NUMBER = "123456789012"
PERSON = "user:somebody@example.com"
"""The owner of the project, at the keyboard."""

PAGES = "https://cloud.google.com/iam/docs/roles-permissions"


class RejectedError(Exception):
    """The API says no."""

    def __init__(self, code: int, status: str, message: str) -> None:
        """Say with which HTTP code, which status of Google's and why."""
        super().__init__(message)
        self.code, self.status = code, status


@dataclass(frozen=True)
class Role:
    """A predefined role: regular expressions of its permissions, and the page that lists them."""

    page: str
    permissions: tuple[str, ...]

    def has(self, permission: str) -> bool:
        """Return whether the role contains a permission."""
        return any(re.fullmatch(pattern, permission) for pattern in self.permissions)


ROLES = {
    "roles/owner": Role(f"{PAGES}/basic-roles", (r".*",)),
    "roles/logging.logWriter": Role(f"{PAGES}/logging", (r"logging\.logEntries\.create",)),
    "roles/logging.viewer": Role(f"{PAGES}/logging", (r"logging\.(logEntries|logs)\.list",)),
    "roles/cloudsql.client": Role(f"{PAGES}/cloudsql", (r"cloudsql\.instances\.(connect|get)",)),
    "roles/run.admin": Role(
        f"{PAGES}/run", (r"run\..*", r"resourcemanager\.projects\.get", r"serviceusage\.services\.get")
    ),
    "roles/run.developer": Role(
        f"{PAGES}/run",
        (r"run\.(services|revisions|jobs|executions)\.(?!setIamPolicy).*", r"resourcemanager\.projects\.get"),
    ),
    "roles/run.viewer": Role(
        f"{PAGES}/run", (r"run\.(services|revisions|jobs)\.(get|list|getIamPolicy)", r"resourcemanager\.projects\.get")
    ),
    "roles/viewer": Role(f"{PAGES}/basic-roles", (r".*\.(get|list|getIamPolicy)",)),
    "roles/run.invoker": Role(f"{PAGES}/run", (r"run\.routes\.invoke",)),
    "roles/cloudbuild.builds.viewer": Role(f"{PAGES}/cloudbuild", (r"cloudbuild\.builds\.(get|list)",)),
    "roles/cloudbuild.builds.editor": Role(
        f"{PAGES}/cloudbuild", (r"cloudbuild\.builds\.(create|get|list|update)", r"resourcemanager\.projects\.get")
    ),
    "roles/artifactregistry.writer": Role(
        f"{PAGES}/artifactregistry",
        (r"artifactregistry\.repositories\.(get|list|downloadArtifacts|uploadArtifacts)",),
    ),
    "roles/storage.objectViewer": Role(f"{PAGES}/storage", (r"storage\.objects\.(get|list)",)),
    "roles/storage.objectUser": Role(f"{PAGES}/storage", (r"storage\.objects\.(create|delete|get|list|update)",)),
    "roles/storage.admin": Role(f"{PAGES}/storage", (r"storage\.(buckets|objects)\..*",)),
    "roles/iam.serviceAccountUser": Role(f"{PAGES}/iam", (r"iam\.serviceAccounts\.(actAs|get|list)",)),
    "roles/iam.serviceAccountOpenIdTokenCreator": Role(f"{PAGES}/iam", (r"iam\.serviceAccounts\.getOpenIdToken",)),
    "roles/iam.serviceAccountTokenCreator": Role(
        f"{PAGES}/iam", (r"iam\.serviceAccounts\.(get|getAccessToken|getOpenIdToken|list|signBlob|signJwt)",)
    ),
    "roles/iap.httpsResourceAccessor": Role(f"{PAGES}/iap", (r"iap\.webServiceVersions\.accessViaIAP",)),
    "roles/iam.workloadIdentityUser": Role(
        f"{PAGES}/iam", (r"iam\.serviceAccounts\.(get|getAccessToken|getOpenIdToken|list)",)
    ),
    "roles/serviceusage.serviceUsageConsumer": Role(
        f"{PAGES}/serviceusage", (r"serviceusage\.(quotas\.get|services\.(get|list|use))",)
    ),
    "roles/secretmanager.secretAccessor": Role(f"{PAGES}/secretmanager", (r"secretmanager\.versions\.access",)),
    "roles/secretmanager.viewer": Role(
        f"{PAGES}/secretmanager",
        (r"secretmanager\.secrets\.(get|getIamPolicy|list)", r"secretmanager\.versions\.(get|list)"),
    ),
}

#: The services' own names for the parts of their addresses, where a permission has another one.
SERVICES = {"cloudresourcemanager": "resourcemanager", "sqladmin": "cloudsql"}
COLLECTIONS = {
    "b": "buckets",
    "o": "objects",
    "subnetworks": "subnetworks",
    "workloadIdentityPools": "workloadIdentityPools",
}
#: What a verb at the end of an address asks for, where it is not the verb itself.
VERBS = {
    "batchEnable": "services.enable",
    "enable": "services.enable",
    "addVersion": "versions.add",
    "access": "versions.access",
    "authString": "instances.getAuthString",
    "expandIpCidrRange": "subnetworks.expandIpCidrRange",
    "undelete": "undelete",
    "storageLayout": "buckets.get",
    "entries:list": "logEntries.list",
}
METHODS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}


def needed(api: str, method: str, path: str, verb: str | None, *, is_list: bool) -> str:
    """Derive the permission that a request needs from its address, as Google names its permissions.

    Args:
        api: Such as `run`.
        method: The HTTP method.
        path: The resource or collection, such as `projects/P/secrets/S`.
        verb: What follows a colon in the address.
        is_list: Whether the path is a collection.
    """
    parts = path.split("/")
    collection = parts[-1] if is_list or (method == "POST" and verb is None) else (parts[-2] if len(parts) > 1 else "")
    collection = COLLECTIONS.get(collection, collection)
    if verb in {"getIamPolicy", "setIamPolicy"}:
        action = f"{collection}.{verb}"
    elif verb:
        action = VERBS.get(verb, f"{collection}.{verb}")
    elif method == "GET":
        action = f"{collection}.{'list' if is_list else 'get'}"
    else:
        action = f"{collection}.{METHODS[method]}"
    return f"{SERVICES.get(api, api)}.{action}"


def holds(policies: dict, member: str, permission: str, resource: str) -> bool:
    """Return whether a member has a permission on a resource, by its policies, its parents' and the project's.

    Args:
        policies: By resource, as their APIs return them.
        member: Such as `serviceAccount:build@my-project-123.iam.gserviceaccount.com`.
        permission: Such as `run.services.get`.
        resource: Its path.
    """
    where = {resource, f"projects/{PROJECT}"}
    parts = resource.split("/")
    where |= {"/".join(parts[:length]) for length in range(2, len(parts))}
    return any(
        ROLES[binding["role"]].has(permission)
        for path in where
        for binding in policies.get(path, {}).get("bindings", [])
        if member in binding["members"] and binding["role"] in ROLES
    )


def denied(permission: str, resource: str) -> RejectedError:
    """Make Google's answer to somebody who lacks a permission."""
    return RejectedError(
        403, "PERMISSION_DENIED", f"Permission '{permission}' denied on resource '{resource}' (or it may not exist)."
    )
