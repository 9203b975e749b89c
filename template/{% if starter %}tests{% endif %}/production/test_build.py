"""production/build: addresses, routes, robots.txt."""

import base64
import functools
import hashlib
import re

import pytest
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import BaseRoute, Host, Mount, Route

from production.build import addresses, api, export, routes, scripts, site_files


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


def test_only_routes_with_a_parameter_reach_caddy(tmp_path):
    assert "about" not in routes.caddy_pages(tmp_path, "", ["index", "about", "item/[slug]", "404"])
    assert "path_regexp" not in routes.caddy_pages(tmp_path, "", ["index", "about", "404"])


def test_a_folder_that_is_no_page_gets_its_slash(tmp_path):
    for path in ("index.html", "about/index.html", "manual/index.html"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    written = routes.caddy_pages(tmp_path, "", ["index", "about", "404"])
    assert matches(written, "folder", "/manual")
    for path in ("/", "/about", "/manual/"):
        assert not matches(written, "folder", path)


def test_the_variables_of_a_deployment():
    text = """# A comment.
PLAIN: value # why
QUOTED: "a \\"b\\" # c"
SINGLE: 'it''s'
EMPTY: ""
SEVERAL: "a
  b"
OTHERS: 'a
  b'
BLOCK: |
  a
"""
    wanted = {"PLAIN": "value", "QUOTED": 'a "b" # c', "SINGLE": "it's", "EMPTY": ""}
    assert export.read_settings(text) == wanted


def matches(written, name, path):
    """Return whether a matcher in the written part of the Caddyfile matches a path."""
    found = re.search(rf"^@{name} path_regexp `(.+)`$", written, re.MULTILINE)
    return bool(found and re.search(found[1], path))


def written_for(asgi_app):
    return api.caddy_api("", list(api.api_patterns(asgi_app)), api.api_hosts(asgi_app))


def test_the_paths_of_the_apps_own_api_reach_caddy():
    inner = Starlette(routes=[Route("/users/{name:path}", print)])
    listed = [Route("/items/{number:int}", print), Mount("/admin", inner), Mount("/files", print)]
    written = written_for(Starlette(routes=[*listed, Route("/ping", print), Mount("/_event", print)]))
    for path in ("/items/7", "/admin/users/a/b", "/files", "/files/a"):
        assert matches(written, "api", path)
    for path in ("/", "/items", "/items/seven", "/admin", "/ping", "/_event/"):
        assert not matches(written, "api", path)
    assert not matches(written, "rest", "/about")
    assert "@api not path *" in written_for(Starlette(routes=[Route("/ping", print)]))


def test_what_may_answer_any_path_gets_what_is_no_page():
    for route in (Route("/{name}", print), Route("/{path:path}", print), Mount("/", print), BaseRoute()):
        written = written_for(Starlette(routes=[route, Route("/items", print)]))
        assert matches(written, "api", "/items")
        assert not matches(written, "api", "/about")
        assert matches(written, "rest", "/about")


def test_middlewares_do_not_hide_the_paths():
    class Middleware:
        def __init__(self, wrapped):
            self.wrapped = wrapped

        async def __call__(self, *request):
            await self.wrapped(*request)

    def function(wrapped):
        async def middleware(*request):
            await wrapped(*request)

        return middleware

    written = written_for(Middleware(function(functools.partial(Starlette(routes=[Route("/items", print)])))))
    assert matches(written, "api", "/items")
    assert not matches(written, "rest", "/about")


def test_a_host_of_the_api_gets_all_of_its_requests():
    inner = Starlette(routes=[Route("/", print), Route("/items", print)])
    written = written_for(Starlette(routes=[Host("{name}.api.example.com", inner)]))
    assert "@api_hosts host *.api.example.com\n" in written
    assert not matches(written, "api", "/")


def test_an_expression_that_caddy_does_not_know_takes_all_below():
    class Even(Convertor):
        regex = "(?=[0-9]*[02468]$)[0-9]+"

    register_url_convertor("even", Even())
    written = written_for(Starlette(routes=[Route("/items/{number:even}", print)]))
    assert matches(written, "api", "/items/8")
    assert "(?=" not in written


@pytest.mark.parametrize("quote", ['"', "`"])
def test_the_pages_talk_to_their_own_address(tmp_path, quote):
    script = tmp_path / "assets" / "reflex-env-x.js"
    script.parent.mkdir()
    script.write_text(
        f"e={{PING:{quote}http://localhost:8000/ping{quote},EVENT:{quote}ws://localhost:8000/_event{quote}}}"
    )
    compressed = script.with_name("reflex-env-x.js.gz")
    compressed.write_bytes(b"the old address")
    addresses.use_own_address(tmp_path, "http://localhost:8000", None)
    assert not compressed.exists()
    assert "localhost:8000" not in script.read_text()
    assert f"location.origin+{quote}/ping{quote}" in script.read_text()


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "0.0.0.0:8000", "[::1]:8000", "localhost", "shop.example"])
def test_any_name_of_this_machine_or_of_the_app_is_replaced(tmp_path, host):
    script = tmp_path / "assets" / "reflex-env-x.js"
    script.parent.mkdir()
    script.write_text(f'e={{PING:"http://{host}/ping",EVENT:"ws://{host}/_event"}}')
    addresses.use_own_address(tmp_path, f"http://{host}", "https://shop.example/")
    assert host not in script.read_text()


def test_a_backend_elsewhere_is_left_alone_and_named(tmp_path, capsys):
    addresses.use_own_address(tmp_path, "https://api.example.com", "https://shop.example")
    assert "connect to https://api.example.com" in capsys.readouterr().out


def test_an_unknown_build_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="http://localhost:8000"):
        addresses.use_own_address(tmp_path, "http://localhost:8000", None)


def test_a_sitemap_of_this_machine_is_not_named(tmp_path, capsys):
    (tmp_path / "sitemap.xml").touch()
    site_files.write_site_files(tmp_path, tmp_path, "http://localhost:3000")
    assert "Sitemap" not in (tmp_path / "robots.txt").read_text()
    assert "deploy_url" in capsys.readouterr().out


PAGE = """
jsx(Helmet,{defer:false},jsx("script",{},"window.title = \\"tea\\""));jsx("script",{type:"module"},text_rx_state_);
jsx("script",{src:"https://scripts.example/a.js"},);jsx(Image,{src:"https://pictures.example/a.png"},);
jsx(Link,{href:"https://links.example/"},);jsx("link",{rel:"stylesheet",href:"https://sheets.example/a.css"},)
"""
POLICY = "\theader ?Content-Security-Policy \"script-src 'self' https://scripts.example {inline_scripts}\"\n"


@pytest.fixture
def web(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app/page.jsx").write_text(PAGE)
    (tmp_path / "client").mkdir()
    (tmp_path / "client/index.html").write_text("<script>first()</script>")
    return tmp_path


def test_a_page_may_run_its_own_scripts_and_those_that_the_browser_adds(web):
    def source(script):
        return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"

    written = scripts.script_hashes(web / "client", web)
    added = source('window.title = "tea"')
    assert f'default "{added}"' in written
    assert f'/ "{added} {source("first()")}"' in written


def test_what_the_policy_rejects_is_named(web, capsys):
    (web / "Caddyfile").write_text(POLICY)
    scripts.name_rejected(web, web / "Caddyfile")
    said = capsys.readouterr().out
    for site, named in [("pictures", True), ("sheets", True), ("scripts", False), ("links", False)]:
        assert (f"https://{site}.example" in said) is named, site
    assert "'unsafe-inline'" in said
    (web / "Caddyfile").write_text("# no policy\n")
    scripts.name_rejected(web, web / "Caddyfile")
    assert capsys.readouterr().out == ""


def test_robots_name_the_sitemap():
    assert "Sitemap: https://example.com/sitemap.xml" in site_files.robots_txt("https://example.com")
    assert "Sitemap" not in site_files.robots_txt(None)
