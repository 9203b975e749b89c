"""Uploads in a bucket: every instance and every revision sees them, and only who types its name removes it.

Real: gcloud, the app's image in containers, a folder in place of the bucket's mount. A stand-in: Google's API.
"""

import pytest
from playwright.sync_api import expect

from harness.google_cloud import PROJECT
from harness.projects import copy_files
from harness.serving import get
from harness.visitor import open_page

pytestmark = pytest.mark.slow

ANSWERS = {"uploads": "bucket"}
SERVICE = "my-reflex-app"
BUCKET = f"b/{PROJECT}-{SERVICE}-uploads"
RUNTIME = f"serviceAccount:{SERVICE}-runtime@{PROJECT}.iam.gserviceaccount.com"
FILE = {"name": "tea.txt", "mimeType": "text/plain", "buffer": b"green"}


def set_up(cloud, project):
    done = cloud.run("deploy/setup", "--yes", cwd=project)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_bucket_is_private_and_stays_until_its_name_is_typed(cloud, render, tmp_path):
    project = copy_files(render(ANSWERS), tmp_path / "project")
    said = set_up(cloud, project)
    assert "beyond that, GB of uploads and operations on them" in said
    settings = cloud.resources[BUCKET]["iamConfiguration"]
    assert settings["publicAccessPrevention"] == "enforced"
    assert settings["uniformBucketLevelAccess"]["enabled"] is True
    rules = [(rule["action"]["type"], rule["condition"]) for rule in cloud.resources[BUCKET]["lifecycle"]["rule"]]
    assert rules == [("AbortIncompleteMultipartUpload", {"age": 7}), ("Delete", {"daysSinceNoncurrentTime": 30})]
    assert cloud.resources[BUCKET]["versioning"] == {"enabled": True}, (
        "what visitors replace or delete stays for a while"
    )
    assert cloud.members(BUCKET, "roles/storage.objectUser") == [RUNTIME]
    done = cloud.run("deploy/teardown", "--yes", cwd=project)
    assert done.returncode == 0, done.stdout
    assert f"deploy/teardown --uploads={PROJECT}-{SERVICE}-uploads" in done.stdout
    assert BUCKET in cloud.resources
    done = cloud.run("deploy/teardown", "--yes", f"--uploads={PROJECT}-{SERVICE}-uploads", cwd=project)
    assert done.returncode == 0, done.stdout
    assert BUCKET not in cloud.resources


@pytest.mark.long
def test_the_next_revision_has_what_was_uploaded(cloud, google, page):
    running, project = google(ANSWERS)
    set_up(cloud, project)
    addresses = []
    for _ in range(2):
        done = cloud.run("deploy/now", cwd=project)
        assert done.returncode == 0, f"{done.stdout}\n{running.log}"
        (serving,) = cloud.traffic(SERVICE)
        addresses.append(cloud.service(SERVICE)["status"]["revisions"][serving])
    open_page(page, f"{addresses[0]}/upload")
    page.set_input_files("#upload input[type=file]", FILE)
    page.click("#send")
    expect(page.locator("#uploaded")).to_have_text("tea.txt")
    path = page.locator("#uploaded a").get_attribute("href").partition("/_upload/")[2]
    for address in addresses:
        assert get(f"{address}/_upload/{path}")[2] == b"green"
    checked = cloud.run("deploy/check", cwd=project)
    assert checked.returncode == 0, checked.stdout
    assert "the app may keep files in the bucket" in checked.stdout
