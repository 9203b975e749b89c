"""Writes the files at the root of the site that Reflex leaves out."""

import shutil
import urllib.parse
from pathlib import Path

from .addresses import is_this_machine


def write_site_files(static_dir: Path, pages: Path, deploy_url: str | None) -> None:
    """Write robots.txt unless the app has one, and copy the page 404.html to the root if the pages are below a path.

    Args:
        static_dir: The folder that Caddy serves.
        pages: The folder of the pages in it, below `frontend_path`.
        deploy_url: The address of the site, such as https://example.com.
    """
    if pages != static_dir:
        for file in pages.glob("404.html*"):
            shutil.copy(file, static_dir)
    has_sitemap = (pages / "sitemap.xml").exists()
    if has_sitemap and is_this_machine(urllib.parse.urlsplit(deploy_url or "").hostname or "localhost"):
        print(
            "production.build: sitemap.xml has addresses of this machine: answer deploy_url, or set it in rxconfig.py."
        )
        has_sitemap = False
    robots = static_dir / "robots.txt"
    if not robots.exists():
        robots.write_text(robots_txt(deploy_url if has_sitemap else None))


def robots_txt(deploy_url: str | None) -> str:
    """Return a robots.txt that allows everything, and names the sitemap if the site has one at `deploy_url`."""
    sitemap = f"\nSitemap: {deploy_url.rstrip('/')}/sitemap.xml\n" if deploy_url else ""
    return f"User-agent: *\nAllow: /\n{sitemap}"
