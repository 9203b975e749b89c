"""What the stand-in does with Cloud SQL: instances, databases and users, which are real ones of a real PostgreSQL.

https://cloud.google.com/sql/docs/postgres/admin-api/rest/v1beta4
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.google_cloud.access import PROJECT, RejectedError

if TYPE_CHECKING:
    from harness.google_cloud import Call, GoogleCloud

Resource = dict[str, Any]
DONE = {"kind": "sql#operation", "name": "operation-1", "status": "DONE"}


def respond(cloud: GoogleCloud, call: Call, path: str) -> Resource:
    """Create, read, list, change or delete an instance, a database or a user."""
    parts = path.split("/")
    kind = parts[4] if len(parts) > 4 else "instances"  # noqa: PLR2004 - projects/P/instances/I/databases
    if handler := {"users": users, "clone": clone, "backupRuns": backups}.get(kind):
        return handler(cloud, call, path)
    if call.method == "POST":
        return create(cloud, call, path, kind)
    if call.method == "GET" and parts[-1] in {"instances", "databases"}:
        return {"items": [item for name, item in cloud.resources.items() if name.rpartition("/")[0] == path]}
    if path not in cloud.resources:
        # An instance that is not there looks like one that somebody may not see.
        raise RejectedError(404, "NOT_FOUND", f"The Cloud SQL {kind[:-1]} does not exist: {path}.")
    if call.method in {"PATCH", "PUT"}:
        settings = cloud.resources[path]["settings"] | call.body.get("settings", {})
        cloud.resources[path] |= call.body | {"settings": settings}
        return DONE | {"operationType": "UPDATE", "targetProject": PROJECT}
    if call.method == "DELETE":
        delete(cloud, call, path)
        return DONE | {"operationType": "DELETE", "targetProject": PROJECT}
    return cloud.resources[path]


def backups(*_: object) -> Resource:
    """List the backup of the last night."""
    return {"items": [{"id": "1", "windowStartTime": "2026-01-30T03:00:00Z", "status": "SUCCESSFUL"}]}


def clone(cloud: GoogleCloud, call: Call, path: str) -> Resource:
    """Make an instance that has what another had at some moment, with its users.

    Raises:
        RejectedError: If the log of writes is not kept. https://cloud.google.com/sql/docs/postgres/backup-recovery/pitr
    """
    source = path.removesuffix("/clone")
    wanted = call.body["cloneContext"]
    settings = cloud.resources[source]["settings"]
    if "pointInTime" in wanted and not settings["backupConfiguration"].get("pointInTimeRecoveryEnabled"):
        raise RejectedError(400, "INVALID_ARGUMENT", "Point-in-time recovery is not enabled for the source instance.")
    name = wanted["destinationInstanceName"]
    path = f"{source.rpartition('/')[0]}/{name}"
    if path in cloud.resources:
        raise RejectedError(409, "ALREADY_EXISTS", f"The Cloud SQL instance already exists: {name}.")
    region = cloud.resources[source]["region"]
    named = {"name": name, "connectionName": f"{PROJECT}:{region}:{name}"}
    cloud.resources[path] = cloud.resources[source] | named
    if cloud.copy_of:
        cloud.copies[path] = cloud.copy_of(wanted["pointInTime"])
    return DONE | {"operationType": "CLONE", "targetProject": PROJECT, "targetId": name}


def create(cloud: GoogleCloud, call: Call, collection: str, kind: str) -> Resource:
    """Create an instance or a database.

    Raises:
        RejectedError: If there is one, or was one a short time ago: the name of an instance stays taken for a week.
            https://cloud.google.com/sql/docs/postgres/delete-instance. If it has a public address where none may have
            one, or a private one in a network that is not connected:
            https://cloud.google.com/sql/docs/postgres/connection-org-policy
    """
    name = call.body["name"]
    path = f"{collection}/{name}"
    addresses = call.body.get("settings", {}).get("ipConfiguration", {})
    if kind == "instances" and "sql.restrictPublicIp" in cloud.constraints and addresses.get("ipv4Enabled", True):
        reason = "Organization Policy check failure: the external IP of this instance violates the constraint"
        raise RejectedError(400, "FAILED_PRECONDITION", f"{reason} constraints/sql.restrictPublicIp.")
    if addresses.get("privateNetwork") and not cloud.peerings:
        reason = "Failed to create subnetwork. Couldn't find free blocks in allocated IP ranges. Please allocate new"
        raise RejectedError(400, "FAILED_PRECONDITION", f"{reason} ranges for this service provider.")
    if path in cloud.resources or path in cloud.hidden_names:
        reason = (
            f"The Cloud SQL {kind[:-1]} already exists. When you delete an instance, you can't reuse the name of the"
        )
        raise RejectedError(409, "ALREADY_EXISTS", f"{reason} deleted instance until one week from the deletion date.")
    cloud.resources[path] = call.body | {"state": "RUNNABLE"}
    if kind == "instances":
        region = call.body["region"]
        cloud.resources[path] |= {"connectionName": f"{PROJECT}:{region}:{name}", "backendType": "SECOND_GEN"}
        if cloud.postgres:
            cloud.postgres.sql("CREATE ROLE cloudsqlsuperuser")
    elif cloud.postgres:
        cloud.postgres.sql(f'CREATE DATABASE "{name}" OWNER cloudsqlsuperuser')
    return DONE | {"operationType": "CREATE", "targetProject": PROJECT, "targetId": name}


def users(cloud: GoogleCloud, call: Call, path: str) -> Resource:
    """Create a user, list them or set a password."""
    known = cloud.resources[path.rpartition("/")[0]].setdefault("users", {})
    if call.method == "GET":
        return {"items": [{"name": name, "instance": path.split("/")[3]} for name in known]}
    name = call.query.get("name") or call.body["name"]
    if cloud.postgres:
        what = "ALTER USER" if name in known else "CREATE USER"
        cloud.postgres.sql(f"{what} \"{name}\" PASSWORD '{call.body['password']}'")
        cloud.postgres.sql(f'GRANT cloudsqlsuperuser TO "{name}"')
    known[name] = call.body["password"]
    return DONE | {"operationType": "CREATE_USER", "targetProject": PROJECT}


def delete(cloud: GoogleCloud, call: Call, path: str) -> None:
    """Delete an instance.

    Raises:
        RejectedError: If it is protected. https://cloud.google.com/sql/docs/postgres/deletion-protection
    """
    if cloud.resources[path]["settings"].get("deletionProtectionEnabled"):
        reason = "The instance is protected. Please disable the deletion protection and try again."
        raise RejectedError(400, "FAILED_PRECONDITION", reason)
    if call.query.get("enableFinalBackup", "").lower() == "true":
        cloud.backups.append(path.rpartition("/")[2])
    cloud.hidden_names.add(path)
    for name in [name for name in cloud.resources if name == path or name.startswith(f"{path}/")]:
        del cloud.resources[name]
