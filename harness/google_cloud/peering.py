"""What the stand-in does with Google's own networks that are connected to the project's.

https://cloud.google.com/service-infrastructure/docs/service-networking/reference/rest/v1/services.connections
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.google_cloud.access import NUMBER, PROJECT, RejectedError

if TYPE_CHECKING:
    from harness.google_cloud import Call, GoogleCloud

Resource = dict[str, Any]
CONNECTIONS = "services/servicenetworking.googleapis.com/connections"
DONE = {"name": "operations/pssn.1", "done": True, "response": {}}


def respond(cloud: GoogleCloud, call: Call, path: str, verb: str | None) -> Resource:
    """Connect a network, list its connections, or take one away.

    Raises:
        RejectedError: If there are no addresses for it, or an instance of Cloud SQL still uses it.
    """
    if "operations/" in path:
        return DONE
    network = (call.query.get("network") or call.body.get("network") or call.body["consumerNetwork"]).replace(
        NUMBER, PROJECT
    )
    if call.method == "GET":
        found = [item for item in cloud.peerings if item["network"] == network]
        return {"connections": found}
    if call.method == "POST" and path == CONNECTIONS and verb is None:
        for name in call.body["reservedPeeringRanges"]:
            if f"projects/{PROJECT}/global/addresses/{name}" not in cloud.resources:
                reason = f"Allocated IP range '{name}' not found in network."
                raise RejectedError(400, "FAILED_PRECONDITION", reason)
        cloud.peerings.append(call.body | {"network": network, "peering": "servicenetworking-googleapis-com"})
        return DONE
    if any("/instances/" in name and "privateNetwork" in str(item) for name, item in cloud.resources.items()):
        reason = "Failed to delete connection; Producer services (e.g. CloudSQL) are still using this connection."
        raise RejectedError(400, "FAILED_PRECONDITION", reason)
    cloud.peerings[:] = [item for item in cloud.peerings if item["network"] != network]
    return DONE
