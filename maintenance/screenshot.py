"""Takes the picture in the README: run scripts/demo, then `.venv/bin/python -m maintenance.screenshot http://localhost:8080`."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "starter.png"


def main(url: str) -> None:
    """Use the starter app a little and take its picture.

    Args:
        url: Where it is served.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell") or shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1000, "height": 440}, device_scale_factor=2)
        page.goto(url)
        for count in ("1", "2", "3"):
            page.click("#increment")
            expect(page.locator("#count")).to_have_text(count)
        page.click("#start")
        expect(page.locator("#percent")).to_have_text("100 %")
        PICTURE.parent.mkdir(exist_ok=True)
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
