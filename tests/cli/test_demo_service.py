"""``headrace demo`` on a terminal: the whole product, until Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.cli.commands import BOUND_S, HEADRACE, environment, headrace
from tests.e2e.server import gone

pytestmark = [pytest.mark.slow, pytest.mark.moto, pytest.mark.timeout(300)]
_STYLE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Terminal:
    """A command on a terminal of its own.

    Attributes:
        pid: Its process id.
    """

    def __init__(self, pid: int, handle: int) -> None:
        self.pid, self._handle, self._raw = pid, handle, b""

    def shown(self) -> str:
        """What the terminal has shown so far, without styles."""
        while select.select([self._handle], [], [], 0.05)[0]:
            try:
                more = os.read(self._handle, 65536)
            except OSError:  # nobody writes any more
                break
            if not more:
                break
            self._raw += more
        return _STYLE.sub("", self._raw.decode(errors="replace"))

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._handle, keys)

    def until(self, holds: Callable[[str], object]) -> None:
        """Wait until what is shown is so."""
        end = time.monotonic() + BOUND_S
        while not holds(self.shown()):
            assert time.monotonic() < end, f"in vain: {self.shown()}"

    def code(self) -> int:
        """The exit code; waits for the end."""
        end = time.monotonic() + BOUND_S
        while time.monotonic() < end:
            self.shown()
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"it goes on: {self.shown()}")

    def hang_up(self) -> None:
        """Close the terminal."""
        os.close(self._handle)

    def fill(self) -> None:
        """Write to it, unread, until it takes no more: whoever then writes waits."""
        side = os.open(f"/proc/{self.pid}/fd/1", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            while True:
                os.write(side, b"x")
        except BlockingIOError:
            pass
        finally:
            os.close(side)

    def code_unread(self) -> int:
        """The exit code, without reading what is shown meanwhile."""
        end = time.monotonic() + BOUND_S
        while time.monotonic() < end:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        raise AssertionError("it goes on")

    def children(self) -> list[int]:
        """Every process below it."""
        return _below(self.pid)


def _below(pid: int) -> list[int]:
    own: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # the process ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # as threads do, any time
                own += map(int, (task / "children").read_text().split())
    return [found for each in own for found in (each, *_below(each))]


def ended(pids: list[int]) -> bool:
    """Whether all of them are gone, now or soon."""
    end = time.monotonic() + BOUND_S
    while not all(gone(each) for each in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def terminal(*arguments: str, data: Path) -> Iterator[Terminal]:
    """A command on a terminal until the block ends; then it is killed if it still runs."""
    settings = environment(
        data, {"HEADRACE_COLLECTION_PORT": "0", "HEADRACE_CONTROL_DATABASE": "sqlite:///nowhere/x"}
    )
    pid, handle = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as on a terminal, also where the tests run under nohup
        os.execve(HEADRACE, [HEADRACE, *arguments], settings)
    try:
        yield Terminal(pid, handle)
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        with suppress(OSError):  # hung up already
            os.close(handle)


def test_the_whole_product_until_ctrl_c(tmp_path: Path) -> None:
    """A link that signs in once, a flow with messages delivered, another stream to connect; then nothing is left."""
    with terminal("demo", "--profiles", "200", data=tmp_path) as demo:
        demo.until(lambda shown: re.search(r"[1-9]\d* messages delivered", shown))
        # The bell of the console is red over it, so that its cause is said beforehand.
        assert "malformed on purpose: the bell" in demo.shown()
        demo.until(lambda shown: re.search(r"[1-9]\d* malformed and refused", shown))
        shown = demo.shown()
        (link,) = re.findall(r"(http://127\.0\.0\.1:\d+)(/ui/sign-in/\S+)", shown)
        with httpx.Client(base_url=link[0], follow_redirects=True, timeout=BOUND_S) as browser:
            form = browser.get(link[1])
            assert form.status_code == 200
            landed = _signed_in(browser, link[1], form.text)
            assert "Prospects to the demo stream" in landed
            (person,) = re.findall(r"somebody +(\S+@example\.com), of the namespace email", shown)
            assert "Choose another input" in _looked_up(browser, person)
            assert "/ui/profile?profile=" in browser.get("/ui/profile").text, "people seen lately"
        (login, password) = re.findall(r"/ as (\S+) with (\S+)", shown)[0]
        assert (login, len(password) > 12) == ("admin", True)
        assert headrace("demo", "--once", data=tmp_path, env={"COLUMNS": "80"}).code == 0, "beside it"
        below = demo.children()
        assert len(below) >= 2, "the local Kinesis and the control process"
        demo.press(b"\x03")
        assert demo.code() == 0, demo.shown()
        assert demo.shown().rstrip().endswith("stopped")
        assert not re.search(r"messages delivered[^\r\n]*\rstopped", demo.shown()), "written over the figures"
        assert "Traceback" not in demo.shown()
        assert ended(below)
    flow = headrace("status", "--json", data=tmp_path / "demo").json["totals"]["flows"]["demo-flow"]
    # On a busy machine it stops before everything is delivered; the rest is kept for the next start.
    assert 0 < flow["delivered"] <= flow["exported"]
    assert (flow["dead_lettered"], flow["discarded"]) == (0, {})


def _signed_in(browser: httpx.Client, path: str, text: str) -> str:
    """The list of destinations, as who followed the link sees it."""
    token = re.search(r'name="csrf" value="([^"]+)"', text)
    if token is not None and 'type="password"' not in text:
        browser.post(path, data={"csrf": token[1]})
    answer = browser.get("/ui/destinations")
    assert answer.status_code == 200
    return answer.text


def _looked_up(browser: httpx.Client, person: str) -> str:
    """The page about somebody, as soon as they came."""
    end = time.monotonic() + BOUND_S
    while True:
        answer = browser.get("/ui/profile", params={"namespace": "email", "id": person})
        assert answer.status_code == 200
        if "Choose another input" in answer.text or time.monotonic() > end:
            return answer.text
        time.sleep(0.2)


def _delivered(shown: str) -> int:
    found: list[str] = re.findall(r"([\d,]+) messages delivered", shown)
    return int(found[-1].replace(",", "")) if found else 0


def test_a_kill_leaves_nothing_and_the_next_start_goes_on(tmp_path: Path) -> None:
    """A second start says that one is at work; killed, it takes its children with it; then it goes on, or anew."""
    with terminal("demo", "--profiles", "50", data=tmp_path) as demo:
        demo.until(lambda shown: _delivered(shown) > 100)
        before = demo.shown()
        with terminal("demo", data=tmp_path) as second:
            assert second.code() == 2
            assert "a demo runs already" in second.shown()
        below = demo.children()
        os.kill(demo.pid, signal.SIGKILL)
        os.waitpid(demo.pid, 0)
        assert ended(below)
    named = re.compile(r"somebody +(\S+)")
    credentials = re.compile(r"CLIENT_ID=\S+ CLIENT_SECRET=\S+ ORG=\S+")
    address = re.compile(r"KINESIS_URL=\S+")
    with terminal("demo", "--profiles", "50", data=tmp_path) as again:
        again.until(lambda shown: _delivered(shown) > 0)
        shown = again.shown()
        (profiles,) = re.findall(r"goes on where it was, with ([\d,]+) profiles", shown)
        assert int(profiles.replace(",", "")) > 20
        assert "--fresh begins anew" in " ".join(shown.split())
        assert credentials.findall(shown) == credentials.findall(before) != [], "the same accounts"
        assert named.findall(shown) == named.findall(before) != [], "somebody who came with the first start"
        # Meanwhile somebody else on this machine may have taken the port; then it says so.
        moved = "Its port is another one" in " ".join(shown.split())
        assert (address.findall(shown) == address.findall(before) != []) is not moved
        again.until(lambda shown: _delivered(shown) > 100)
        os.kill(again.pid, signal.SIGTERM)
        assert again.code() == 0
    with terminal("demo", "--fresh", "--profiles", "50", data=tmp_path) as anew:
        anew.until(lambda shown: "People come and go" in shown)
        shown = anew.shown()
        assert "goes on where it was" not in shown
        assert credentials.findall(shown) != credentials.findall(before)
        anew.press(b"\x03")
        assert anew.code() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminal_that_is_gone_or_full_holds_nobody_up(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM ends it although nobody reads what it says; a closed terminal ends it too, in order."""
    with terminal("demo", "--profiles", "50", data=tmp_path) as demo:
        demo.until(lambda shown: "messages delivered" in shown)
        below = demo.children()
        if number == signal.SIGHUP:
            demo.hang_up()
        else:
            demo.fill()
            os.kill(demo.pid, number)
        assert demo.code_unread() == 0
        assert ended(below)
