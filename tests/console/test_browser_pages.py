"""Every page in a real browser, light and dark, wide and phone: faults of access, blocked code, outside hosts, width.

The pictures are kept in the folder of HEADRACE_SCREENSHOTS, or in a temporary one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from .browser import Tab, chromium
from .pages import pages
from .sample import Sample
from .served import serving

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the module."""
    with chromium() as found:
        yield found


def folder(tmp_path: Path) -> Path:
    """Where pictures go."""
    return Path(os.environ.get("HEADRACE_SCREENSHOTS") or tmp_path)


@pytest.mark.parametrize("size", ["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page(browser: Browser, installation: Sample, tmp_path: Path, scheme: str, size: str) -> None:
    """No serious fault of access, nothing blocked or thrown, nothing from elsewhere, none wider than the window."""
    wrong: list[str] = []
    with serving(installation) as url:
        tab = Tab(browser, url, size=size, scheme=scheme)

        def look(name: str) -> None:
            if (scheme, size) != ("dark", "phone"):  # the same colours and the same widths as two of the others
                wrong.extend(f"{name}: {fault}" for fault in tab.faults())
            if (over := tab.overflow_px()) > 0:
                wrong.append(f"{name}: {over} px wider than the window")
            tab.shot(folder(tmp_path) / f"{name}-{scheme}-{size}.png", whole=size == "wide")

        tab.open("/ui/sign-in")
        look("sign-in")
        tab.sign_in("admin", installation.first.user.secret.reveal())
        for name, path in pages(installation).items():
            tab.open(path)
            if name == "live":
                expect(tab.page.locator("#settled > li")).to_have_count(12)
            look(name)
        tab.open(pages(installation)["activate-audiences"])
        for step in ("attributes", "review"):
            tab.page.get_by_role("button", name="Next").click()
            expect(tab.page.locator("pre.code").first).to_be_visible()
            look(f"activate-{step}")
        wrong += [f"complained: {each}" for each in tab.complaints]
        wrong += [f"fetched: {each}" for each in tab.outside()]
        tab.close()
    assert not wrong, "\n".join(wrong)


def test_keyboard_alone(browser: Browser, installation: Sample) -> None:
    """Without a mouse: the first stop leads past the side bar, and a destination is found and opened."""
    with serving(installation) as url:
        tab = Tab(browser, url)
        tab.sign_in("admin", installation.first.user.secret.reveal())
        tab.open("/ui/destinations")
        tab.page.keyboard.press("Tab")
        expect(tab.page.locator(":focus")).to_have_text("Skip to content")
        tab.page.keyboard.press("Enter")
        expect(tab.page.locator("#main")).to_be_focused()
        tab.page.get_by_label("Search by name").focus()
        tab.page.keyboard.type("loyalty")
        expect(tab.page.locator("#rows tbody tr")).to_have_count(1)
        tab.page.get_by_role("link", name="Loyalty offers").focus()
        tab.page.keyboard.press("Enter")
        expect(tab.page.get_by_role("heading", level=1)).to_have_text("Loyalty offers")
        tab.close()


def test_the_theme_and_the_language_stay(browser: Browser, installation: Sample) -> None:
    """What was chosen is there on the next page too; the toggle needs no script."""
    with serving(installation) as url:
        tab = Tab(browser, url, scheme="light")
        tab.sign_in("admin", installation.first.user.secret.reveal())
        tab.page.get_by_role("button", name="Theme of the system").click()
        tab.page.get_by_role("button", name="Light theme").click()
        expect(tab.page.locator("html")).to_have_attribute("data-theme", "dark")
        tab.page.get_by_label("Language").select_option("es")
        expect(tab.page.get_by_role("heading", level=1)).to_have_text("Catálogo")
        tab.open("/ui/alerts")
        expect(tab.page.locator("html")).to_have_attribute("data-theme", "dark")
        expect(tab.page.get_by_role("heading", level=1)).to_have_text("Alertas")
        tab.close()


def test_narrowing_lists(browser: Browser, installation: Sample) -> None:
    """What is typed narrows audiences and attributes at once, and what is checked stays checked."""
    with serving(installation) as url:
        tab = Tab(browser, url)
        tab.sign_in("admin", installation.first.user.secret.reveal())
        tab.open(f"/ui/activate/{installation.flows[0]}")
        tab.page.get_by_label("Search audiences").fill("lapsed")
        expect(tab.page.locator("#audiences tbody tr:visible")).to_have_count(1)
        tab.page.get_by_label("Lapsed", exact=True).check()
        tab.page.get_by_role("button", name="Next").click()
        tab.page.get_by_label("Search attributes").fill("loyalty")
        expect(tab.page.locator(".leaf:visible")).to_have_count(4)
        tab.page.locator(".leaf", has_text="points").click()
        expect(tab.page.locator("#preview")).to_contain_text("points")
        expect(tab.page.locator("#preview")).to_contain_text("crm-lapsed")
        assert not tab.complaints
        tab.close()


def test_the_phones_menu(browser: Browser, installation: Sample) -> None:
    """Closed at first, it opens and leads on."""
    with serving(installation) as url:
        tab = Tab(browser, url, size="phone")
        tab.sign_in("admin", installation.first.user.secret.reveal())
        link = tab.page.get_by_role("link", name="Monitoring")
        expect(link).to_be_hidden()
        tab.page.get_by_role("button", name="Menu").click()
        link.click()
        expect(tab.page.get_by_role("heading", level=1)).to_have_text("Monitoring")
        tab.close()


def test_axe_finds_what_is_wrong(browser: Browser, fresh: Sample) -> None:
    """A fault that is planted is found, so that finding none means something."""
    with serving(fresh) as url:
        tab = Tab(browser, url)
        tab.open("/ui/sign-in")
        assert tab.faults() == []
        tab.page.evaluate("document.querySelector('label[for=login]').remove()")
        assert any(each.startswith("label") for each in tab.faults())
        tab.close()


def test_inline_code_is_blocked(browser: Browser, fresh: Sample) -> None:
    """A script and a style that somebody slipped into a page do nothing, and the browser says so."""
    with serving(fresh) as url:
        tab = Tab(browser, url)
        tab.open("/ui/sign-in")
        tab.page.evaluate(
            "() => { const s = document.createElement('script'); s.textContent = 'window.slipped = 1';"
            " document.body.append(s); document.body.setAttribute('style', 'display: none') }"
        )
        assert tab.page.evaluate("window.slipped") is None
        assert len([each for each in tab.complaints if "Content Security Policy" in each]) == 2
        tab.close()
