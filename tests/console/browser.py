"""Debian's Chromium, driven by Playwright; what a page fetched and complained of is kept; axe-core looks at it."""

from __future__ import annotations

import contextlib
import shutil
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.servers import NODE_FOLDER

AXE: Final = NODE_FOLDER / "node_modules" / "axe-core" / "axe.min.js"
SIZES: Final = {"wide": (1280, 860), "phone": (390, 844)}
BAD: Final = ("serious", "critical")


class BrowserMissingError(Exception):
    """Chromium or axe-core is not installed; the text says what to do."""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of this machine; none is downloaded."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise BrowserMissingError("chromium is not installed: run `make browser`")
    if not AXE.is_file():
        raise BrowserMissingError("axe-core is not installed: run `make node-modules`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page in a window of one size and one colour scheme.

    Attributes:
        page: Playwright's.
        fetched: URL of everything that was asked for.
        complaints: Errors of the console: a blocked script or style, an exception.
    """

    def __init__(self, browser: Browser, url: str, *, size: str = "wide", scheme: str = "light") -> None:
        width, height = SIZES[size]
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
            locale="en-US",
        )
        self.url = url
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.fetched: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", self._asked)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _asked(self, request: Request) -> None:
        self.fetched.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        # An answer that is an error is what some tests are about; what the browser blocks or throws never is.
        if message.type == "error" and "status of" not in message.text:
            self.complaints.append(message.text)

    def open(self, path: str) -> None:
        """Open a page."""
        self.page.goto(self.url + path)

    def sign_in(self, login: str, password: str) -> None:
        """Fill in the form."""
        self.open("/ui/sign-in")
        self.page.get_by_label("User name").fill(login)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/ui/catalog")

    def faults(self) -> list[str]:
        """What axe-core finds that is serious or critical: rule, and the first elements at fault."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: dict[str, Any] = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['id']}: {each['help']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
            for each in found["violations"]
            if each["impact"] in BAD
        ]

    def overflow_px(self) -> int:
        """By how much the page is wider than the window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width

    def shot(self, path: Path, *, whole: bool = False) -> None:
        """Keep a picture."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path, full_page=whole)

    def outside(self) -> list[str]:
        """Requests to another host than the console's."""
        own = urllib.parse.urlsplit(self.url).netloc
        return [each for each in self.fetched if urllib.parse.urlsplit(each).netloc != own]

    def close(self) -> None:
        """Close the window."""
        self.context.close()
