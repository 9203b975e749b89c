"""production/build: addresses, routes, robots.txt."""

import re

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from production.build import addresses, routes, site_files


@pytest.mark.parametrize(
    ("route", "path", "matches"),
    [
        ("item/[slug]", "/item/teapot", True),
        ("item/[slug]", "/item", False),
        ("item/[slug]", "/item/a/b", False),
        ("docs/[[page]]", "/docs", True),
        ("docs/[[page]]", "/docs/intro", True),
        ("docs/[[page]]", "/docs/intro/more", False),
        ("files/[[...splat]]", "/files", True),
        ("files/[[...splat]]", "/files/a/b/c", True),
        ("files/[[...splat]]", "/filesystem", False),
    ],
)
def test_a_route_with_a_parameter(route, path, matches):
    assert bool(re.fullmatch(routes.route_pattern(route), path)) is matches


def test_only_routes_with_a_parameter_reach_caddy():
    assert "about" not in routes.caddy_pages("", ["index", "about", "item/[slug]", "404"])
    assert "path_regexp" not in routes.caddy_pages("", ["index", "about", "404"])


def test_the_paths_of_the_apps_own_api_reach_caddy():
    inner = Starlette(routes=[Route("/users/{name:path}", print)])
    api = Starlette(routes=[Route("/items/{number:int}", print), Mount("/admin", inner), Mount("/files", print)])
    patterns = list(routes.api_patterns(api))
    written = routes.caddy_api("", [*patterns, "/ping", "/_event(?:/.*)?"])
    matcher = re.search(r"@api path_regexp (\S+)", written)[1]
    for path in ("/items/7", "/admin/users/a/b", "/files", "/files/a"):
        assert re.search(matcher, path)
    for path in ("/", "/items", "/items/seven", "/admin", "/ping", "/_event/"):
        assert not re.search(matcher, path)
    assert "not path *" in routes.caddy_api("", ["/ping"])


@pytest.mark.parametrize("quote", ['"', "`"])
def test_the_pages_talk_to_their_own_address(tmp_path, quote):
    script = tmp_path / "assets" / "reflex-env-x.js"
    script.parent.mkdir()
    script.write_text(
        f"e={{PING:{quote}http://localhost:8000/ping{quote},EVENT:{quote}ws://localhost:8000/_event{quote}}}"
    )
    compressed = script.with_name("reflex-env-x.js.gz")
    compressed.write_bytes(b"the old address")
    addresses.use_own_address(tmp_path, "http://localhost:8000")
    assert not compressed.exists()
    assert "localhost:8000" not in script.read_text()
    assert f"location.origin+{quote}/ping{quote}" in script.read_text()


def test_a_backend_elsewhere_is_left_alone(tmp_path):
    addresses.use_own_address(tmp_path, "https://api.example.com")


def test_an_unknown_build_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="http://localhost:8000"):
        addresses.use_own_address(tmp_path, "http://localhost:8000")


def test_robots_name_the_sitemap():
    assert "Sitemap: https://example.com/sitemap.xml" in site_files.robots_txt("https://example.com")
    assert "Sitemap" not in site_files.robots_txt(None)
