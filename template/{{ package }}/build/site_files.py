"""Writes the files at the root of the site that Reflex leaves out."""

import shutil
from pathlib import Path


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
    robots = static_dir / "robots.txt"
    if not robots.exists():
        robots.write_text(robots_txt(deploy_url if (pages / "sitemap.xml").exists() else None))


def robots_txt(deploy_url: str | None) -> str:
    """Return a robots.txt that allows everything, and names the sitemap if the site has one at `deploy_url`."""
    sitemap = f"\nSitemap: {deploy_url.rstrip('/')}/sitemap.xml\n" if deploy_url else ""
    return f"User-agent: *\nAllow: /\n{sitemap}"
