"""What runs builds, revisions and jobs behind the stand-in's API: containers of an app's own image."""

import contextlib
from pathlib import Path
from typing import Any

from harness.commands import must_run, run
from harness.engine import DOCKER, Container
from harness.google_cloud import GoogleCloud, builds
from harness.google_cloud.proxy import IdentityAwareProxy
from harness.processes import until
from harness.tcp_ports import listens

Resource = dict[str, Any]


class Google:
    """A cloud whose builds, revisions and jobs really run. The image was built before, whatever the build does."""

    def __init__(self, cloud: GoogleCloud, folder: Path, image: str, redis_url: str) -> None:
        """Run what a test's cloud is asked to run.

        Args:
            cloud: What gcloud talks to.
            folder: Where the builds have their workspaces.
            image: The app's image.
            redis_url: The Redis that the app gets in place of the one at the address in its secret.
        """
        self.cloud, self.folder, self.image, self.redis_url = cloud, folder, image, redis_url
        self.containers: list[Container] = []
        self.failures: list[Exception] = []
        self.proxies = contextlib.ExitStack()
        cloud.start, cloud.builder, cloud.task = self.start, self.build, self.task

    def start(self, description: Resource) -> str:
        """Start a revision and return its address.

        Raises:
            RuntimeError: If it does not listen, with its log.
        """
        container = Container(self.image, *sockets(description), **self.environment(description))
        self.containers.append(container)
        until(lambda: listens(container.port) or container.state("Running") != "true", 60, every=0.3)
        if not listens(container.port):
            raise RuntimeError(container.log)
        if not description["proxied"]:
            return container.url
        proxy = self.proxies.enter_context(IdentityAwareProxy(self.cloud, container.port))
        return proxy.url

    def environment(self, description: Resource) -> dict[str, str]:
        """Give a container's environment."""
        given = {entry["name"]: entry["value"] for entry in description.get("env", [])}
        return given | ({"REFLEX_REDIS_URL": self.redis_url} if "REFLEX_REDIS_URL" in given else {})

    def task(self, description: Resource) -> tuple[int, str]:
        """Run a job's task to its end; return its exit status and what it has printed."""
        variables = [f"--env={key}={value}" for key, value in self.environment(description).items()]
        options = ("--network=host", f"--entrypoint={description['command'][0]}", *sockets(description), *variables)
        done = run(DOCKER, "run", "--rm", *options, self.image, *description["args"], cwd=self.folder)
        return done.returncode, done.stdout

    def build(self, cloud: GoogleCloud, number: str, resource: Resource) -> None:
        """Run a build that was created, in a separate thread, and note its result."""
        workspace = self.folder / number
        workspace.mkdir()
        try:
            resource["status"] = "WORKING"
            account = resource["serviceAccount"].rpartition("/")[2]
            if "source" in resource:
                builds.fetch(cloud, resource["source"], account, workspace)
            else:
                must_run("git", "clone", "--quiet", resource["repository"], workspace, cwd=self.folder)
            (workspace / "deploy/build/image").write_text("echo built before\n")
            given = resource.get("substitutions", {})
            environment = {"TRIAL_SECONDS": "60", "LOG_SECONDS": "0"}
            done = builds.run_steps(workspace, cloud, environment=environment, image=self.image, **given)
            cloud.logs[number] = done.log
            resource["status"] = "SUCCESS" if done.succeeded else "FAILURE"
        except Exception as error:  # noqa: BLE001 - whatever it is: nobody waits for a build that has ended
            self.failures.append(error)
            resource["status"] = "FAILURE"

    @property
    def log(self) -> str:
        """What all builds have printed, and why some could not run."""
        return "\n".join([*self.cloud.logs.values(), *map(str, self.failures)])


def sockets(description: Resource) -> list[str]:
    """Give the options of `docker run` by which a container reaches its databases."""
    places = description.get("sockets", {}).items()
    return [f"--mount=type=bind,source={folder},target={place}" for place, folder in places]
