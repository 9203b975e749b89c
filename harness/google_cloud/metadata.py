"""The metadata server, from which a build step gets its tokens, and the exchange of GitHub's tokens for Google's.

https://cloud.google.com/compute/docs/metadata/overview, https://cloud.google.com/iam/docs/workload-identity-federation
"""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

from harness.google_cloud.access import NUMBER, PROJECT

if TYPE_CHECKING:
    from harness.google_cloud import GoogleCloud

Answer = tuple[int, "dict[str, Any] | str"]


MAX_SUBJECT_BYTES = 127


def token_of(member: str) -> str:
    """Make an access token that says whose it is."""
    return base64.urlsafe_b64encode(f"token:{member}".encode()).decode().rstrip("=")


def caller_of(headers: dict[str, str]) -> str:
    """Return whose access token a request carries; nobody's is empty."""
    token = {name.lower(): value for name, value in headers.items()}.get("authorization", "").removeprefix("Bearer ")
    try:
        kind, _, member = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().partition(":")
    except ValueError:
        return ""
    return member if kind == "token" else ""


def unsigned(claims: dict[str, Any]) -> str:
    """Write a JSON Web Token; nobody here checks its signature."""
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


def claims_of(token: str) -> dict[str, Any]:
    """Read what a JSON Web Token says."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def answer(cloud: GoogleCloud, path: str, query: dict[str, str]) -> Answer:
    """Answer a step of a build, or gcloud's impersonation of an account."""
    found = re.fullmatch(r"/of/([^/]+)/computeMetadata/v1/?(.*)", path)
    if not found:
        return 404, {}
    email, what = found[1], re.sub(rf"service-accounts/{re.escape(found[1])}", "service-accounts/default", found[2])
    account = f"projects/{PROJECT}/serviceAccounts/{email}"
    now = int(time.time())
    default = "instance/service-accounts/default"
    if what.rstrip("/") == default + "/identity":
        # Cloud Build gives one only to an account that may make its own:
        # https://cloud.google.com/build/docs/securing-builds/authorize-service-to-service-access
        if not cloud.may(f"serviceAccount:{email}", "iam.serviceAccounts.getOpenIdToken", account):
            cloud.refusals["404 identity token of the metadata server"] += 1
            return 404, "Not Found"
        claims = {"aud": query["audience"], "iat": now, "exp": now + 3600, "iss": "https://accounts.google.com"}
        return 200, unsigned(claims | {"sub": "1", "email": email})
    answers: dict[str, Any] = {
        "": "instance/\nproject/\n",
        "instance/service-accounts": "default/\n" + email + "/\n",
        default: {"email": email, "aliases": ["default"], "scopes": ["https://www.googleapis.com/auth/cloud-platform"]},
        f"{default}/email": email,
        f"{default}/scopes": "https://www.googleapis.com/auth/cloud-platform\n",
        f"{default}/token": {
            "access_token": token_of(f"serviceAccount:{email}"),
            "expires_in": 3600,
            "token_type": "Bearer",
        },
        "project/project-id": PROJECT,
        "project/numeric-project-id": NUMBER,
        "universe/universe-domain": "googleapis.com",
    }
    key = what.rstrip("/")
    return (200, answers[key]) if key in answers else (404, "Not Found")


def exchange(cloud: GoogleCloud, data: bytes) -> Answer:
    """Exchange a token of GitHub's for one of the pool's, by the provider's mapping and condition."""
    try:
        form = json.loads(data)
    except ValueError:
        form = {key: values[-1] for key, values in urllib.parse.parse_qs(data.decode()).items()}
    audience = form.get("audience", "")
    claims = claims_of(form.get("subject_token") or form.get("subjectToken", ""))
    provider = cloud.resources.get(audience.partition("googleapis.com/")[2].replace(NUMBER, PROJECT), {})
    if provider.get("state") != "ACTIVE" or not holds(provider["attributeCondition"], claims):
        cloud.refusals["403 the provider's condition"] += 1
        reason = "The given credential is rejected by the attribute condition."
        return 403, {"error": "unauthorized_client", "error_description": reason}
    attributes = {
        key.removeprefix("attribute."): claims[value.removeprefix("assertion.")]
        for key, value in provider["attributeMapping"].items()
    }
    # https://cloud.google.com/iam/docs/workload-identity-federation#mapping
    if len(attributes["google.subject"].encode()) > MAX_SUBJECT_BYTES:
        cloud.refusals["400 a subject that is too long"] += 1
        reason = f"The size of mapped attribute google.subject exceeds the {MAX_SUBJECT_BYTES} bytes limit."
        return 400, {"error": "invalid_request", "error_description": reason}
    pool = audience.partition("googleapis.com/")[2].partition("/providers/")[0]
    members = [
        f"principalSet://iam.googleapis.com/{pool}/attribute.{name}/{value}" for name, value in attributes.items()
    ]
    return 200, {
        "access_token": token_of(" ".join(members)),
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 3600,
    }


def holds(condition: str, claims: dict[str, Any]) -> bool:
    """Evaluate a condition of the form that the set-up writes: claims that equal a text, or one of some in brackets."""

    def equal(term: str) -> bool:
        found = re.fullmatch(r"assertion\.(\w+) == '([^']*)'", term)
        assert found, f"the stand-in cannot evaluate {condition}"
        return claims.get(found[1]) == found[2]

    return all(any(map(equal, part.strip("()").split(" || "))) for part in condition.split(" && "))
