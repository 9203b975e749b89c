"""What the stand-in does with the domains of Cloud Run's services.

https://cloud.google.com/run/docs/mapping-custom-domains, https://cloud.google.com/run/docs/reference/rest/v1/namespaces.domainmappings
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.google_cloud.access import PROJECT, RejectedError

if TYPE_CHECKING:
    from harness.google_cloud import Call, GoogleCloud

Resource = dict[str, Any]
MAPPINGS = f"namespaces/{PROJECT}/domainmappings"
VERIFIED = f"projects/{PROJECT}/authorizeddomains"


def respond(cloud: GoogleCloud, call: Call, path: str) -> Resource:
    """Create, read, list or delete a mapping, or list the domains that the caller has proved to own.

    Raises:
        RejectedError: If the caller does not own a domain, or there is no such mapping.
    """
    if path == VERIFIED:
        return {"domains": [{"id": name} for name in sorted(cloud.verified_domains)]}
    if call.method == "POST":
        domain = call.body["metadata"]["name"]
        if not any(domain == name or domain.endswith(f".{name}") for name in cloud.verified_domains):
            reason = f"Caller is not authorized to administer the domain '{domain}'."
            raise RejectedError(403, "PERMISSION_DENIED", reason)
        path = f"{MAPPINGS}/{domain}"
        records = [{"name": domain.partition(".")[0], "type": "CNAME", "rrdata": "ghs.googlehosted.com."}]
        waiting = {"type": "CertificateProvisioned", "status": "Unknown", "message": "Waiting for the DNS records."}
        ready = {"type": "Ready", "status": "Unknown", "reason": "CertificatePending"}
        cloud.resources[path] = call.body | {
            "status": {"resourceRecords": records, "conditions": [ready, waiting], "observedGeneration": 1}
        }
    elif path == MAPPINGS:
        return {"items": [item for name, item in cloud.resources.items() if name.startswith(f"{MAPPINGS}/")]}
    elif path not in cloud.resources:
        raise RejectedError(
            404, "NOT_FOUND", f"Resource '{path.rpartition('/')[2]}' of kind 'DOMAIN_MAPPING' does not exist."
        )
    elif call.method == "DELETE":
        del cloud.resources[path]
        return {"status": "Success"}
    return cloud.resources[path]
