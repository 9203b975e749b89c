"""Each image that a project names exists, as far as its registry can be reached."""

import images
import pytest
from engine import bases, docker
from google_cloud import builds as cloud_build
from pins import images_of
from variants import COMBINATIONS

pytestmark = pytest.mark.slow


def test_every_image_that_a_project_names_exists(render):
    names = {name for answers in COMBINATIONS for name in images_of(render(answers))}
    names |= {name for python in ("3.11", "3.12", "3.14") for name in images_of(render({"python_version": python}))}
    assert len(names) >= 9
    found = {name: images.exists(name) for name in sorted(names)}
    assert [name for name, there in found.items() if there is False] == []
    unchecked = [name for name, there in found.items() if there is None]
    if unchecked:
        pytest.skip(f"no registry answers, so that nothing tells whether these exist: {', '.join(unchecked)}")


def test_a_registry_tells_what_exists(project, tmp_path):
    made = project()
    caddy = next(name for name in bases(made) if name.startswith("caddy:"))
    with cloud_build.registry(tmp_path / "registry") as registry:
        there = f"{registry}/caddy:1"
        docker("tag", caddy, there)
        docker("push", "--quiet", there)
        docker("image", "rm", there)
        assert images.exists(there) is True
        assert images.exists(f"{registry}/caddy:2") is False
    assert images.exists(there) is None, "nobody answers there now"


@pytest.mark.parametrize(
    ("image", "address"),
    [
        ("caddy:2.11.7", ("https://registry-1.docker.io", "library/caddy", "2.11.7")),
        ("oven/bun:1.4.4", ("https://registry-1.docker.io", "oven/bun", "1.4.4")),
        ("ghcr.io/astral-sh/uv:0.13.9", ("https://ghcr.io", "astral-sh/uv", "0.13.9")),
        ("localhost:5000/caddy:1", ("http://localhost:5000", "caddy", "1")),
    ],
)
def test_the_address_of_an_image(image, address):
    assert images.address(image) == address
