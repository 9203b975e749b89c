"""What the stand-in does with Cloud Run's jobs: one task, run by whatever the test gives for it, to its end.

https://cloud.google.com/run/docs/reference/rest/v1/namespaces.jobs
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.google_cloud import services
from harness.google_cloud.access import NUMBER, PROJECT, RejectedError

if TYPE_CHECKING:
    from harness.google_cloud import Call, GoogleCloud

Resource = dict[str, Any]
JOBS = f"namespaces/{PROJECT}/jobs"
EXECUTIONS = f"namespaces/{PROJECT}/executions"


def respond(cloud: GoogleCloud, call: Call, path: str, verb: str | None) -> Resource:
    """Create, replace, read, run or delete a job, or read an execution."""
    if verb == "run":
        return run(cloud, path)
    if call.method == "POST":
        path = f"{JOBS}/{call.body['metadata']['name']}"
    elif path not in cloud.resources:
        raise RejectedError(404, "NOT_FOUND", f"Resource '{path.rpartition('/')[2]}' of kind 'JOB' does not exist.")
    if call.method in {"POST", "PUT"}:
        task = call.body["spec"]["template"]["spec"]["template"]["spec"]
        services.require_act_as(cloud, call, task)
        generation = cloud.resources.get(path, {}).get("metadata", {}).get("generation", 0) + 1
        metadata = call.body["metadata"] | {"generation": generation, "resourceVersion": f"v{generation}", "uid": "1"}
        status = {"observedGeneration": generation, "conditions": [{"type": "Ready", "status": "True"}]}
        cloud.resources[path] = call.body | {"metadata": metadata, "status": status}
    elif call.method == "DELETE":
        del cloud.resources[path]
        return {"status": "Success"}
    return cloud.resources[path]


def run(cloud: GoogleCloud, path: str) -> Resource:
    """Run a job's task; what it prints is its log."""
    job = cloud.resources[path]
    template = job["spec"]["template"]
    task = template["spec"]["template"]
    name = f"{path.rpartition('/')[2]}-{len([known for known in cloud.resources if EXECUTIONS in known]) + 1:05}"
    problem = services.trouble(cloud, task["spec"])
    notes = template.get("metadata", {}).get("annotations", {})
    code, log = (1, problem) if problem else cloud.task(services.described(cloud, task["spec"], notes))
    cloud.logs[f"job {path.rpartition('/')[2]}"] = log
    done = {"status": "True"} if code == 0 else {"status": "False", "reason": "NonZeroExitCode"}
    message = (
        {} if code == 0 else {"message": f"Task {name}-task0 failed with message: The container exited with an error."}
    )
    counts = {"succeededCount": 1} if code == 0 else {"failedCount": 1}
    labels = {"cloud.googleapis.com/location": "us-central1", "run.googleapis.com/job": path.rpartition("/")[2]}
    execution = {
        "kind": "Execution",
        "apiVersion": "run.googleapis.com/v1",
        "metadata": {"name": name, "namespace": NUMBER, "generation": 1, "labels": labels, "annotations": {}},
        "spec": template["spec"] | {"taskCount": 1},
        "status": {
            "observedGeneration": 1,
            "conditions": [{"type": "Completed"} | done | message, {"type": "Started", "status": "True"}],
            "logUri": "https://console.google.test/",
            **counts,
        },
    }
    cloud.resources[f"{EXECUTIONS}/{name}"] = execution
    return execution
