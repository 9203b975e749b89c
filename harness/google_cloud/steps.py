"""The steps of a build that deploy, each by itself, as the build's account."""

import subprocess
from pathlib import Path

import yaml

from harness.google_cloud import NUMBER, PROJECT, GoogleCloud
from harness.google_cloud.resources import created

SERVICE = "my-reflex-app"
"""What the default answers call the service."""
BUILD = f"{SERVICE}-build@{PROJECT}.iam.gserviceaccount.com"
FIRST = "0123abcd-build"


def step(
    cloud: GoogleCloud, project: Path, name: str, build: str = FIRST, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run one of the steps that talk to Google, as Cloud Build does; a build is younger the later it is named first."""
    config = yaml.safe_load((project / "cloudbuild.yaml").read_text())
    region = config["substitutions"]["_REGION"]
    cloud.resources.setdefault(f"projects/{PROJECT}/locations/global/builds/{build}", {"createTime": created()})
    values = {"PROJECT_ID": PROJECT, "REGION": region, "SERVICE": SERVICE, "IMAGE": "image", "BUILD_ID": build}
    values |= {"PROJECT_NUMBER": NUMBER}
    return cloud.run("bash", f"deploy/build/{name}", cwd=project, account=BUILD, **(values | more))


def candidate(cloud: GoogleCloud, project: Path, build: str = FIRST, **more: str) -> None:
    """Deploy the candidate of a build."""
    done = step(cloud, project, "candidate", build, **more)
    assert done.returncode == 0, done.stdout


def switch(cloud: GoogleCloud, project: Path, build: str = FIRST, **more: str) -> subprocess.CompletedProcess[str]:
    """Switch traffic after a trial that passed."""
    (project / ".candidate/passed").touch()
    return step(cloud, project, "traffic", build, **more)


def deploy(cloud: GoogleCloud, project: Path, build: str = FIRST, **more: str) -> None:
    """Deploy a build and switch traffic to it."""
    candidate(cloud, project, build, **more)
    done = switch(cloud, project, build)
    assert done.returncode == 0, done.stdout
