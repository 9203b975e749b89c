"""Runs the steps of a rendered cloudbuild.yaml here, in order, as Cloud Build does.

The steps of Google's builder images run on this machine: the docker one with the real Docker Engine, the gcloud one
with the real gcloud on the stand-in for Google's API, as the build's account, with tokens of the metadata server.
Every other step runs in its image.
"""

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness import commands, engine
from harness.google_cloud import NUMBER, PROJECT, GoogleCloud
from harness.google_cloud.resources import created
from harness.processes import until
from harness.tcp_ports import free_port, listens

SUBSTITUTION = re.compile(r"\$\$|\$\{(\w+)\}|\$(\w+)")


@dataclass
class Build:
    """What came of a build."""

    id: str
    succeeded: bool = True
    steps: list[str] = field(default_factory=list)
    log: str = ""


def substitute(config: Any, values: dict[str, str], used: set[str]) -> Any:
    """Fill the substitutions in, as Cloud Build does; `$$` is a dollar sign.

    Raises:
        KeyError: If a name is unknown: Cloud Build rejects such a build.
    """
    if isinstance(config, dict):
        return {key: substitute(value, values, used) for key, value in config.items()}
    if isinstance(config, list):
        return [substitute(value, values, used) for value in config]
    if not isinstance(config, str):
        return config

    def fill(found: re.Match) -> str:
        if found[0] == "$$":
            return "$"
        key = found[1] or found[2]
        used.add(key)
        return substitute(values[key], values, used)

    return SUBSTITUTION.sub(fill, config)


def resolve(file: Path, build_id: str, **given: str) -> dict[str, Any]:
    """Read a cloudbuild.yaml and fill its substitutions in.

    Raises:
        KeyError: If it uses a substitution that nobody gives, or declares one that it does not use: Cloud Build
            rejects both.
    """
    config = yaml.safe_load(file.read_text())
    # A build by hand has no commit: the values of what a trigger knows are empty.
    triggers = dict.fromkeys(["COMMIT_SHA", "SHORT_SHA", "REPO_NAME", "BRANCH_NAME", "TAG_NAME", "REF_NAME"], "")
    values = (
        triggers
        | {"PROJECT_ID": PROJECT, "PROJECT_NUMBER": NUMBER, "BUILD_ID": build_id}
        | config.pop("substitutions")
        | given
    )
    used: set[str] = set()
    resolved = substitute(config, values, used)
    if unused := {key for key in values if key.startswith("_")} - used:
        raise KeyError(unused)
    return resolved


def submit(project: Path, workspace: Path, cloud: GoogleCloud) -> None:
    """Copy what `gcloud builds submit` would upload, by the rules of .gcloudignore."""
    listed = cloud.run("gcloud", "meta", "list-files-for-upload", project, cwd=project)
    assert listed.returncode == 0, listed.stdout
    for name in listed.stdout.split("\n"):
        if name:
            target = workspace / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(project / name, target)


def fetch(cloud: GoogleCloud, source: dict[str, Any], account: str, workspace: Path) -> None:
    """Unpack what was uploaded for a build, which its account has to be allowed to read.

    Raises:
        RejectedError: If it is not.
    """
    stored = source["storageSource"]
    cloud.require(f"serviceAccount:{account}", "storage.objects.get", f"b/{stored['bucket']}")
    with tarfile.open(fileobj=io.BytesIO(cloud.objects[f"b/{stored['bucket']}/o/{stored['object']}"])) as archive:
        archive.extractall(workspace)  # noqa: S202 - gcloud packed it, on this machine


def run(project: Path, workspace: Path, cloud: GoogleCloud, *, environment: dict[str, str], **given: str) -> Build:
    """Submit a project and run its build to the end.

    Args:
        project: The checkout.
        workspace: An empty folder for the build; its name is the build's ID.
        cloud: What gcloud talks to.
        environment: More that the steps find in their environment.
        given: Substitutions, as by `--substitutions`.
    """
    workspace.mkdir(mode=0o755)
    submit(project, workspace, cloud)
    cloud.resources.setdefault(
        f"projects/{PROJECT}/locations/global/builds/{workspace.name}", {"id": workspace.name, "createTime": created()}
    )
    return run_steps(workspace, cloud, environment=environment, **given)


def run_steps(
    workspace: Path, cloud: GoogleCloud, *, environment: dict[str, str], image: str = "", **given: str
) -> Build:
    """Run a build's steps to the last or to the first that fails and may not.

    Args:
        workspace: The build's folder, with the source in it; its name is the build's ID.
        cloud: What gcloud talks to.
        environment: More that the steps find in their environment.
        image: The image that the steps of the app's own image run in; the one that the build made if it is empty.
        given: Substitutions, as by `--substitutions`.
    """
    build = Build(workspace.name)
    config = resolve(workspace / "cloudbuild.yaml", build.id, **given)
    account = config["serviceAccount"].rpartition("/")[2]
    member = f"serviceAccount:{account}"
    cloud.require(member, "logging.logEntries.create", f"projects/{PROJECT}")
    tools = wrapped_docker(workspace.parent / "tools", allowed=can_push(cloud, member, config))
    variables = dict(entry.split("=", 1) for entry in config["options"]["env"]) | environment
    for step in config["steps"]:
        command = [step["entrypoint"], *step["args"]]
        if step["name"].startswith(("gcr.io/cloud-builders/docker", "gcr.io/google.com/cloudsdktool/google-cloud-cli")):
            path = f"{tools}:{cloud.environment()['PATH']}"
            done = cloud.run(*command, cwd=workspace, account=account, **variables, PATH=path)
        else:
            options = [f"--env={name}={value}" for name, value in variables.items()]
            done = commands.run(
                *(engine.DOCKER, "run", "--rm", "--network=host", f"--volume={workspace}:/workspace"),
                *("--workdir=/workspace", "--env=HOME=/builder/home", *options),
                *(f"--entrypoint={command[0]}", image or step["name"], *command[1:]),
                cwd=workspace,
            )
        build.steps.append(step["id"])
        build.log += f"=== {step['id']}\n{done.stdout}"
        if done.returncode != 0 and not step.get("allowFailure"):
            build.succeeded = False
            break
    return build


def can_push(cloud: GoogleCloud, member: str, config: dict[str, Any]) -> bool:
    """Return whether a build's account may push to the repository of its image, wherever the registry is here."""
    region = next(entry.partition("=")[2] for entry in config["options"]["env"] if entry.startswith("REGION="))
    image = next(entry.partition("=")[2] for entry in config["options"]["env"] if entry.startswith("IMAGE="))
    repository = f"projects/{PROJECT}/locations/{region}/repositories/{image.split('/')[-1]}"
    return cloud.may(member, "artifactregistry.repositories.uploadArtifacts", repository)


def wrapped_docker(folder: Path, *, allowed: bool) -> Path:
    """Put a `docker` into a folder that gives builds the options that they have here, and pushes if that is allowed."""
    folder.mkdir(exist_ok=True)
    script = folder / "docker"
    options = " ".join(engine.build_options())
    script.write_text(
        "#!/bin/sh\n"
        "command=$1\nshift\n"
        f'if [ "$command" = push ] && [ {int(allowed)} = 0 ]; then\n'
        "    echo \"denied: Permission 'artifactregistry.repositories.uploadArtifacts' denied on resource\" >&2\n"
        "    exit 1\n"
        'fi\n[ "$command" = build ] || exec '
        f'{shutil.which(engine.DOCKER)} "$command" "$@"\n'
        f'exec {shutil.which(engine.DOCKER)} build {options} "$@"\n'
    )
    script.chmod(0o755)
    return folder


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run a real image registry on the loopback and give its address, such as localhost:5000."""
    folder.mkdir()
    port = free_port()
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}, "delete": {"enabled": True}},
        "http": {"addr": f"localhost:{port}"},
    }
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            ["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        until(lambda: listens(port), 30)
        yield f"localhost:{port}"
    finally:
        server.terminate()
        server.wait(30)
