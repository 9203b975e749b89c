"""What a visitor does in a browser."""

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, BrowserType, ConsoleMessage, Page, expect, sync_playwright

PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")
"""The first one is Chromium without a window at all, for half the CPU time; it is also what Playwright installs."""


def launch(kind: BrowserType, *options: str) -> Browser:
    """Start a real Chromium: the system's, or else Playwright's; `options` are more of its command line."""
    system = next(filter(None, map(shutil.which, PROGRAMS)), None)
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    return kind.launch(executable_path=system, args=[*quiet, *options])


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Run a real Chromium."""
    with sync_playwright() as playwright, launch(playwright.chromium) as browser:
        yield browser


def watch(page: Page) -> list[str]:
    """Collect what the page complains about, from now on."""
    complaints = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            missing = message.text.startswith("Failed to load resource")  # does not say which
            complaints.append(f"{message.text}: {message.location['url']}" if missing else message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def open_page(page: Page, url: str, transport: str = "websocket") -> None:
    """Open a page of the app and wait until its JavaScript runs, which connects to the backend.

    The page shows before that, and a click is lost then. The browser's `load` event does not wait for it either.

    Args:
        page: A tab of the browser.
        url: The page's address.
        transport: The app's setting, `websocket` or `polling`.
    """
    connects = page.expect_websocket() if transport == "websocket" else page.expect_request("**/_event/**")
    with connects:
        page.goto(url)


def click_to_three(page: Page, url: str, start: float = 0) -> None:
    """Open the first page and count from 0 to 3, each number within 5 s.

    Args:
        page: A tab of the browser.
        url: The app's address.
        start: How many seconds more the first answer may take, of a backend that still starts.
    """
    open_page(page, url)
    expect(page.locator("#count")).to_have_text("0")
    for count, more in (("1", start), ("2", 0), ("3", 0)):
        page.click("#increment")
        expect(page.locator("#count")).to_have_text(count, timeout=(5 + more) * 1000)
