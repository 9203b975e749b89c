"""What the stand-in has: the project's resources, the policies, and the requests so far."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.google_cloud import access
from harness.google_cloud.access import PROJECT
from harness.postgres_server import Postgres

if TYPE_CHECKING:
    from harness.google_cloud import GoogleCloud

Resource = dict[str, Any]

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
class State:
    """The project's resources by path, its policies by path, the requests so far, and how Google behaves."""

    folder: Path
    start: Start = lambda _: "http://localhost:1"
    builder: Builder | None = None
    task: Task = lambda _: (0, "")
    #: What Cloud SQL's databases are made in; None where no app uses them.
    postgres: Postgres | None = None
    #: Google's networks that are connected to the project's, for Cloud SQL without a public address.
    peerings: list[Resource] = field(default_factory=list)
    #: What makes a database as it was at some moment, and those that were made, by their instances.
    copy_of: Callable[[str], Postgres] | None = None
    copies: dict[str, Postgres] = field(default_factory=dict)
    #: The names of instances that cannot be used again yet, and the backups that deleted ones have left.
    hidden_names: set[str] = field(default_factory=set)
    backups: list[str] = field(default_factory=list)
    resources: dict[str, Resource] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    policies: dict[str, Resource] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    #: The entries of the app's log, the oldest first, as Cloud Logging returns them.
    app_log: list[Resource] = field(default_factory=list)
    #: The domains that the person has proved to own.
    verified_domains: set[str] = field(default_factory=set)
    enabled: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    outside_requests: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    #: The organization's policies that hold, by the names of their constraints.
    constraints: set[str] = field(default_factory=set)
    #: How often an account is invisible to others after it was created.
    unseen: int = 0
    #: Whether an API rejects the first request after it was enabled.
    hesitant: bool = False
    #: After how many more requests every one fails, as when a command is interrupted; negative once one has failed.
    requests_left: float = math.inf
    #: Reads that fail, though what they would show is there: the ends of their paths.
    failing: set[str] = field(default_factory=set)
    #: What cannot be deleted, since something of Google's still uses it.
    busy: set[str] = field(default_factory=set)
    hidden: dict[str, int] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    #: Called before a service is replaced, as somebody else might get in between.
    before_put: Callable[["GoogleCloud", Call], None] | None = None
    #: Called after each change, with this and the request.
    after: Callable[["GoogleCloud", Call], None] | None = None

    def service(self, name: str) -> Resource:
        """Look a Cloud Run service up."""
        return self.resources[f"namespaces/{PROJECT}/services/{name}"]

    def traffic(self, name: str) -> dict[str, int]:
        """Return which revisions of a service get how many percent."""
        shares = self.service(name)["status"]["traffic"]
        return {share["revisionName"]: share["percent"] for share in shares if share.get("percent")}

    def tags(self, name: str) -> dict[str, str]:
        """Return which revisions of a service have a separate address, by its tag."""
        return {
            share["tag"]: share["revisionName"] for share in self.service(name)["status"]["traffic"] if "tag" in share
        }

    def is_open(self, name: str, region: str = "us-central1") -> bool:
        """Return whether a service exists and anybody may open it."""
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
        """Return whether a member, or one of several identities of a caller, has a permission on a resource."""
        return any(access.holds(self.policies, one, permission, resource) for one in member.split())

    def changes(self) -> list[Call]:
        """List the requests that change something."""
        reads = (":getIamPolicy", "/token", "entries:list", ":signJwt", ":testIamPermissions")
        return [call for call in self.calls if call.method != "GET" and not call.path.endswith(reads)]
