"""The list of alerts and those who tell of them: kept over restarts, repeated, and never in the way."""

from __future__ import annotations

import threading
from pathlib import Path

from headrace.alerts import book as books
from headrace.alerts.book import Book, listed
from headrace.alerts.channels import Notice
from headrace.alerts.rules import Alert, Memory
from headrace.alerts.telling import GIVE_UP_MS, Desk
from headrace.clock import Manual
from headrace.errors import AlertError

from .logged import logged


def alert(number: int, *, over: bool = False) -> Alert:
    return Alert(
        id=f"{number}", kind="lag", flow="f", severity="warning", title=f"alert {number}", detail="d", what_to_do="w",
        since_ms=number, until_ms=number + 1 if over else None, key=f"lag\0f{number}\0",
    )  # fmt: skip


def notices(*numbers: int) -> list[Notice]:
    return [Notice(id=f"{n}-raised", state="raised", alert=alert(n)) for n in numbers]


class Told:
    """A channel that fails so many times, then takes what it is told."""

    def __init__(self, name: str = "told", failures: int = 0) -> None:
        self.name = name
        self.failures = failures
        self.taken: list[str] = []
        self.tries = 0
        self.hold = threading.Event()
        self.hold.set()
        self.changed = threading.Condition()

    def send(self, notice: Notice) -> None:
        assert self.hold.wait(20)
        with self.changed:
            self.tries += 1
            self.changed.notify_all()
            if self.tries <= self.failures:
                raise AlertError(channel=self.name, problem="not now")
            self.taken.append(notice.id)

    def wait(self, tries: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.tries >= tries, 20)


def record(book: Book, desk: Desk, given: list[Notice]) -> None:
    book.record(Memory(open=[each.alert for each in given]), [], given, desk.names)
    desk.tell(given)


def test_notices_come_in_order_and_are_repeated_until_taken(tmp_path: Path) -> None:
    """One that is refused holds back those behind it; each is taken once."""
    book, channel = Book(tmp_path), Told(failures=3)
    desk = Desk(book, [channel], Manual(start_ms=1000), first_wait_s=0.001)
    desk.start()
    record(book, desk, notices(1, 2, 3))
    channel.wait(6)
    desk.close()
    assert channel.taken == ["1-raised", "2-raised", "3-raised"]
    assert channel.tries == 6
    assert book.waiting("told") == []


def test_a_slow_channel_delays_no_one(tmp_path: Path) -> None:
    """Telling returns at once, and the other channel has all while one hangs."""
    book, slow, quick = Book(tmp_path), Told("slow"), Told("quick")
    slow.hold.clear()
    desk = Desk(book, [slow, quick], Manual(start_ms=1000))
    desk.start()
    record(book, desk, notices(1, 2))
    quick.wait(2)
    assert slow.taken == []
    slow.hold.set()
    slow.wait(2)
    desk.close()
    assert slow.taken == quick.taken == ["1-raised", "2-raised"]


def test_what_was_not_told_is_told_by_the_next_process(tmp_path: Path) -> None:
    """A process that ends while a channel is down leaves its notices to the next one."""
    book, down = Book(tmp_path), Told(failures=1 << 30)
    desk = Desk(book, [down], Manual(start_ms=1000), first_wait_s=30)
    desk.start()
    record(book, desk, notices(1, 2))
    down.wait(1)
    desk.close()
    again = Book(tmp_path)
    assert [each.id for each in again.waiting("told")] == ["1-raised", "2-raised"]
    assert [each.id for each in again.memory.open] == ["1", "2"]
    channel = Told()
    desk = Desk(again, [channel], Manual(start_ms=1000))
    desk.start()
    channel.wait(2)
    desk.close()
    assert channel.taken == ["1-raised", "2-raised"]


def test_what_no_channel_takes_for_a_day_is_given_up(tmp_path: Path) -> None:
    """The next notice is not behind it for ever."""
    clock = Manual(start_ms=GIVE_UP_MS + 2)
    book, channel = Book(tmp_path), Told(failures=2)
    desk = Desk(book, [channel], clock, first_wait_s=0.001)
    desk.start()
    record(book, desk, notices(1, 2, 3))
    channel.wait(3)
    desk.close()
    assert channel.taken == ["3-raised"]


def test_alerts_are_listed_newest_first(tmp_path: Path) -> None:
    """Open ones alone, or all; those that are over are bounded in number."""
    book = Book(tmp_path)
    book.record(Memory(open=[alert(7), alert(9)]), [alert(8, over=True)], [], [])
    assert [each.id for each in listed(tmp_path, "open", 10)] == ["9", "7"]
    assert [each.id for each in listed(tmp_path, "all", 2)] == ["9", "8"]
    book.record(Memory(), [alert(n, over=True) for n in range(100, 100 + books.KEPT)], [], [])
    assert len(listed(tmp_path, "all", 1 << 20)) == books.KEPT
    assert listed(tmp_path / "none", "all", 5) == []


def test_a_damaged_list_begins_anew(tmp_path: Path) -> None:
    """It is told of, and the engine starts."""
    (tmp_path / books.NAME).write_bytes(b"{")
    with logged() as said:
        assert Book(tmp_path).memory == Memory()
    assert "cannot be read and begins anew" in said.text


def test_a_list_that_cannot_be_kept_ends_nothing(tmp_path: Path) -> None:
    """It is told of; channels are told all the same."""
    folder = tmp_path / "gone"
    book, channel = Book(folder), Told()
    desk = Desk(book, [channel], Manual(start_ms=1000))
    with logged() as said:
        desk.start()
        record(book, desk, notices(1))
        channel.wait(1)
        desk.close()
    assert channel.taken == ["1-raised"]
    assert "the list of alerts cannot be kept" in said.text


def test_the_list_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Details may quote a destination's answer."""
    Book(tmp_path).record(Memory(), [], [], [])
    assert (tmp_path / books.NAME).stat().st_mode & 0o777 == 0o600
