"""What a visitor does in a browser."""

from playwright.sync_api import Page, expect


def watch(page: Page) -> list[str]:
    """Collect what the page complains about, from now on."""
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def click_to_three(page: Page, url: str) -> None:
    """Open the first page and count from 0 to 3."""
    page.goto(url)
    expect(page.locator("#count")).to_have_text("0")
    for count in ("1", "2", "3"):
        page.click("#increment")
        expect(page.locator("#count")).to_have_text(count)
