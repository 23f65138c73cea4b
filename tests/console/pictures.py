"""The pictures of the README and of docs/console.md: ``python -m tests.console.pictures`` (``make docs`` does it).

They show the installation of sample.py under a clock that stands still, so they change only when the console does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from playwright.sync_api import expect

from .browser import BrowserMissingError, Tab, chromium
from .pages import pages
from .sample import filled
from .served import serving

FOLDER: Final = Path(__file__).parents[2] / "docs" / "images"
SHOWN: Final = (
    ("activate", "activate-audiences", "light"),
    ("live", "live", "light"),
    ("monitoring", "monitoring", "dark"),
    ("profile", "profile", "light"),
)
"""File, page, colour scheme."""


def main() -> None:
    """Take all of them."""
    sample = filled()
    with chromium() as browser, serving(sample) as url:
        for name, page, scheme in SHOWN:
            tab = Tab(browser, url, scheme=scheme)
            tab.sign_in("admin", sample.first.user.secret.reveal())
            tab.open(pages(sample)[page])
            if name == "activate":
                tab.page.get_by_role("button", name="Next").click()
                expect(tab.page.locator("#preview pre")).to_be_visible()
            if name == "live":
                expect(tab.page.locator("#settled > li")).to_have_count(12)
                tab.page.locator("#settled summary").first.click()
            expect(tab.page.locator(".bell .count")).to_be_visible()
            tab.shot(FOLDER / f"{name}.png")
            tab.close()


if __name__ == "__main__":
    try:
        main()
    except BrowserMissingError as error:
        sys.exit(str(error))
