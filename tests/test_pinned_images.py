"""Each image that a project names exists, as far as its registry can be reached."""

import json
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from harness.caches import ROOT
from harness.engine import bases, docker
from harness.google_cloud import builds as cloud_build
from maintenance import images, releases
from maintenance.releases import images_of
from tests.variants import COMBINATIONS

pytestmark = pytest.mark.slow


def test_every_image_that_a_project_names_exists(render):
    names = {name for answers in COMBINATIONS for name in images_of(render(answers))}
    pythons = yaml.safe_load((ROOT / "pins.yml").read_text())["python_releases"]["default"]
    names |= {name for python in pythons for name in images_of(render({"python_version": python}))}
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
        for tag in ("1", "2.9.10", "2.11.7", "2.11.7-alpine", "2.12.0-beta.1", "2.12", "3.0.0", "3.13.9-slim"):
            docker("tag", caddy, f"{registry}/caddy:{tag}")
            docker("push", "--quiet", f"{registry}/caddy:{tag}")
            docker("image", "rm", f"{registry}/caddy:{tag}")
        assert images.exists(there) is True
        assert images.exists(f"{registry}/caddy:2") is False
        assert images.newest(f"{registry}/caddy:2.9.1") == "2.11.7", "the highest number of the same major version"
        assert images.newest(f"{registry}/caddy:3.13.2-slim") == "3.13.9-slim"
        assert images.newest(f"{registry}/caddy:2.12.0-alpine") == "2.12.0-alpine", "none newer of its kind"
    assert images.exists(there) is None, "nobody answers there now"
    assert images.newest(there) is None


def test_a_long_list_of_tags_is_read_to_its_end(monkeypatch):
    """As Docker Hub's, page by page, with a token that somebody without an account gets."""
    asked = []

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            url = urlsplit(self.path)
            query = dict(parse_qsl(url.query))
            if url.path == "/token":
                return self.answer(200, {"token": "t"})
            if self.headers["Authorization"] != "Bearer t":
                realm = f'Bearer realm="http://{self.headers["Host"]}/token",service="r",scope="repository:app:pull"'
                return self.answer(401, {}, **{"WWW-Authenticate": realm})
            last = int(query.get("last", 0))
            more = {"Link": f'</v2/app/tags/list?last={last + 1}>; rel="next"'} if last < 3 else {}
            return self.answer(200, {"tags": [f"1.{last}.0"]}, **more)

        def answer(self, status, body, **headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = f"localhost:{server.server_port}/app:1.0.0"
        assert images.newest(there) == "1.3.0"
        assert any(path.startswith("/token?service=r&scope=repository") for path in asked)
        monkeypatch.setattr(images, "PAGES", 2)
        assert images.newest(there) is None, "a list that does not end is not half read"
        server.shutdown()


def test_pins_come_from_where_the_images_are_listed(render, tmp_path, monkeypatch):
    """A release that PyPI has and the registry does not is not taken; without a registry, PyPI's is."""
    pins = tmp_path / "pins.yml"
    shutil.copy(ROOT / "pins.yml", pins)
    monkeypatch.setattr(releases, "PINS", pins)
    listed = {"caddy": "2.11.3", "python": "3.13.6-slim-trixie", "bun": None, "uv": None}
    monkeypatch.setattr(releases, "newest", lambda image: listed[images.address(image)[1].rpartition("/")[2]])
    releases.refresh([render()])
    now = {name: pin["default"] for name, pin in yaml.safe_load(pins.read_text()).items()}
    assert tuple(map(int, now["caddy_version"].split("."))) <= (2, 11, 3)
    assert now["python_releases"]["3.13"] == "3.13.6"
    assert re.fullmatch(r"\d+\.\d+\.\d+", now["bun_version"])
    assert now["gcloud_builder"].endswith(":stable"), "rolling, on purpose"


def test_a_version_that_the_ranges_exclude_is_named(render, tmp_path):
    """By the newest versions of today: the project is made to want older ones."""
    made = tmp_path / "project"
    made.mkdir()
    text = (render() / "pyproject.toml").read_text()
    (made / "pyproject.toml").write_text(re.sub(r'"gunicorn>=[^"]*"', '"gunicorn>=20,<21"', text))
    found = releases.excluded([made])
    assert [line.partition(" ")[0] for line in found if line.endswith("the projects have <21,>=20")] == ["gunicorn"]
    assert not any(line.startswith(("anyio", "pytest ")) for line in found)


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
