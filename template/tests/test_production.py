"""What production.py adds: addresses, routes, threads and Redis."""

import asyncio
import re
import threading

import pytest

import production


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
    assert bool(re.fullmatch(production.route_pattern(route), path)) is matches


def test_only_routes_with_a_parameter_reach_caddy():
    assert "about" not in production.caddy_routes(["index", "about", "item/[slug]", "404"])
    assert "path_regexp" not in production.caddy_routes(["index", "about", "404"])


@pytest.mark.parametrize("quote", ['"', "`"])
def test_the_pages_talk_to_their_own_address(tmp_path, quote):
    script = tmp_path / "assets" / "reflex-env-x.js"
    script.parent.mkdir()
    script.write_text(
        f"e={{PING:{quote}http://localhost:8000/ping{quote},EVENT:{quote}ws://localhost:8000/_event{quote}}}"
    )
    compressed = script.with_name("reflex-env-x.js.gz")
    compressed.write_bytes(b"the old address")
    production.use_the_pages_own_address(tmp_path, "http://localhost:8000")
    assert not compressed.exists()
    assert "localhost:8000" not in script.read_text()
    assert f"location.origin+{quote}/ping{quote}" in script.read_text()


def test_a_backend_elsewhere_is_left_alone(tmp_path):
    production.use_the_pages_own_address(tmp_path, "https://api.example.com")


def test_an_unknown_build_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="http://localhost:8000"):
        production.use_the_pages_own_address(tmp_path, "http://localhost:8000")


def test_robots_name_the_sitemap():
    assert "Sitemap: https://example.com/sitemap.xml" in production.robots_txt("https://example.com")
    assert "Sitemap" not in production.robots_txt(None)


@pytest.mark.parametrize("threads", [1, 3])
def test_so_many_blocking_calls_run_at_once(threads):
    def together(barrier: threading.Barrier) -> bool:
        try:
            barrier.wait(timeout=1)
        except threading.BrokenBarrierError:
            return False
        return True

    async def run(calls: int) -> list[bool]:
        production.use_threads(threads)
        barrier = threading.Barrier(calls)
        return await asyncio.gather(*(asyncio.to_thread(together, barrier) for _ in range(calls)))

    assert all(asyncio.run(run(threads)))
    assert not any(asyncio.run(run(threads + 1)))


def test_a_missing_redis_is_named_without_its_password():
    with pytest.raises(RuntimeError, match="Redis does not answer") as error:
        asyncio.run(production.require_redis("redis://:secret@127.0.0.1:1/0"))
    assert "secret" not in str(error.value)
