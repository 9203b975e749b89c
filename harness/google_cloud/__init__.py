"""A stand-in for Google Cloud's API on the loopback, for the real gcloud: it rejects what Google rejects.

gcloud reaches it as a proxy, under made-up host names such as run.google.test, so that nothing can leave the machine:
an address that is not overridden comes here too, is rejected and listed in `outside_requests`. A person calls with
their own token; a step of a build gets its tokens from the metadata server, as on Google Cloud, without a key.

What it rejects, each by a rule of Google's documentation:

- a request without a permission that the caller was granted: see access.py;
- a request at the cost of another project;
- a request to an API that is not enabled, and, in tests that want it, the first one to an API that just was;
- a role for an account that does not exist, or, in tests that want it, is not visible yet;
- a grant to allUsers, or a public service, where the organization forbids them;
- an identity token for an account that may not have one;
- a request to an app behind Identity-Aware Proxy without a token for its address, or the role: see proxy.py;
- an instance of Cloud SQL that is protected, or whose name was given up a short time ago: see sql.py;
- a mapping of a domain that nobody has proved to own: see domains.py; an alert without what its kind needs: see
  resources.py; a network that has no addresses for Google's, or one that Cloud SQL still uses: see peering.py;
- a change of a service that was based on an older state, and more of Cloud Run's own rules: see services.py.
"""

from harness.google_cloud.access import NUMBER, PERSON, PROJECT, RejectedError
from harness.google_cloud.server import FOREIGN_PROPERTIES, REFUSALS, GoogleCloud
from harness.google_cloud.state import Call

__all__ = ["FOREIGN_PROPERTIES", "NUMBER", "PERSON", "PROJECT", "REFUSALS", "Call", "GoogleCloud", "RejectedError"]
