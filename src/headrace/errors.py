"""The whole error tree. Every error says what, where, and what to do next.

    HeadraceError
      RefusedError              the caller must change something; nothing was applied
        ConfigurationError      a configuration with mistakes, all of them listed
        UpdateRefusedError      one profile update that cannot be applied
        SourceChangedError      a file that is not the one read before
        SourceUnreadableError   a source that cannot be opened, or breaks off
        CheckError              a destination that cannot be reached or is not permitted
        UseCaseError            a use case of the control plane, with the code that its API answers
      StateError                the data folder
        FolderBusyError         held by another process
        FolderFormatError       written by a newer version
        FolderDamagedError      what was stored there is no longer readable
        StorageError            the disk refused
      DeliveryError             about records on their way to a destination
        RecordTooLargeError     one record that no request can hold
      AlertError                a channel that did not take a notice of an alert
      BugError                  a broken promise of our own

What a destination answers about one record is an ``Outcome`` (destinations/base.py), never an exception.
No error holds a secret or a profile's values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple


def _rebuild(cls: type[HeadraceError], facts: dict[str, Any]) -> HeadraceError:
    return cls(**facts)


class HeadraceError(Exception):
    """Root of all errors of this package; built from keywords, and picklable."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self._facts = facts
        for name, value in facts.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Callable[..., HeadraceError], tuple[Any, ...]]:
        plain = type(self).__init__ is HeadraceError.__init__
        return _rebuild, (type(self), {"message": str(self), **self._facts} if plain else self._facts)


class RefusedError(HeadraceError):
    """The caller must change something; nothing was applied."""

    code = "refused"


class Mistake(NamedTuple):
    """One mistake in a configuration.

    Attributes:
        place: Where, as a path into the file: ``flows[0].transformations[0].params…``.
        problem: What is wrong there, without secrets.
        allowed: What would be right; empty when the problem says it.
    """

    place: str
    problem: str
    allowed: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}" + (f" (allowed: {self.allowed})" if self.allowed else "")


class ConfigurationError(RefusedError):
    """A configuration was refused whole; every mistake is listed.

    Attributes:
        mistakes: One or more, in the order of the file.
    """

    code = "configuration"
    mistakes: Sequence[Mistake]

    def __init__(self, *, mistakes: Sequence[Mistake]) -> None:
        lines = "\n".join(f"  {m}" for m in mistakes)
        count = len(mistakes)
        super().__init__(
            f"the configuration has {count} mistake{'s' if count != 1 else ''}:\n{lines}", mistakes=tuple(mistakes)
        )


class UpdateRefusedError(RefusedError):
    """One profile update cannot be applied; its neighbours can.

    Attributes:
        reason: A short code of the closed list ``core.reasons.REFUSALS``.
        place: Where in the update, as a dotted path; empty for the whole.
        problem: What is wrong there, without the profile's values.
    """

    code = "update-refused"
    reason: str
    place: str
    problem: str

    def __init__(self, *, reason: str, place: str = "", problem: str) -> None:
        super().__init__(f"{place}: {problem}" if place else problem, reason=reason, place=place, problem=problem)


class SourceChangedError(RefusedError):
    """A file that was partly read is no longer the same file."""

    code = "source-changed"

    def __init__(self, *, path: str, offset: int) -> None:
        super().__init__(
            f"{path} was read up to byte {offset} before, and that part has changed since; "
            f"choose: --from-start reads it as a new file, --from-end skips what it holds now, "
            f"or give the original file back",
            path=path,
            offset=offset,
        )


class SourceUnreadableError(RefusedError):
    """A source cannot be opened or listened on, or what it holds breaks off."""

    code = "source-unreadable"

    def __init__(self, *, source: str, problem: str) -> None:
        super().__init__(f"{source}: {problem}", source=source, problem=problem)


class CheckError(RefusedError):
    """A destination cannot be reached or does not permit what is needed."""

    code = "check"

    def __init__(self, *, problem: str) -> None:
        super().__init__(problem, problem=problem)


class UseCaseError(RefusedError):
    """A use case of the control plane was refused; nothing was stored.

    Attributes:
        error_code: Number and HTTP status of the closed list ``control.problems``: ``1404-412``.
        title: What kind of refusal, the same for every error of the code.
        problem: What is wrong and what to do next.
        mistakes: Every place in the request that is wrong; empty when the message says it.
        wait_s: Least wait before trying again; 0 when waiting changes nothing.
    """

    code = "use-case"
    error_code: str
    title: str
    problem: str
    mistakes: Sequence[Mistake]
    wait_s: float

    def __init__(
        self, *, error_code: str, title: str, problem: str, mistakes: Sequence[Mistake] = (), wait_s: float = 0.0
    ) -> None:
        super().__init__(
            problem, error_code=error_code, title=title, problem=problem, mistakes=tuple(mistakes), wait_s=wait_s
        )

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.error_code.rpartition("-")[2])


class StateError(HeadraceError):
    """The data folder cannot be used."""

    code = "state"


class FolderBusyError(StateError):
    """Another process holds the data folder."""

    code = "folder-busy"

    def __init__(self, *, path: str, owner: str = "") -> None:
        who = f" by {owner}" if owner else " by another process"
        super().__init__(
            f"the data folder {path} is held{who}; stop that process, or choose another folder with "
            f"--data-dir or HEADRACE_DATA_DIR",
            path=path,
            owner=owner,
        )


class FolderFormatError(StateError):
    """The data folder was written in a format this version does not know."""

    code = "folder-format"

    def __init__(self, *, path: str, found: str, known: int) -> None:
        super().__init__(
            f"the data folder {path} has format {found} and this version knows up to {known}; "
            f"run the version that wrote it, or choose another folder",
            path=path,
            found=found,
            known=known,
        )


class FolderDamagedError(StateError):
    """What was stored, and perhaps acknowledged, can no longer be read: the disk or somebody changed it."""

    code = "folder-damaged"

    def __init__(self, *, path: str, problem: str) -> None:
        super().__init__(
            f"the data folder {path} is damaged: {problem}; keep a copy of it, and restore a backup into another "
            f"folder; if it is the log alone, HEADRACE_DAMAGED_LOG=cut goes on with what lies before the damage",
            path=path,
            problem=problem,
        )


class StorageError(StateError):
    """The disk refused a read or a write; nothing of the batch was acknowledged."""

    code = "storage"

    def __init__(self, *, problem: str) -> None:
        super().__init__(
            f"the data folder cannot be read or written: {problem}; free space or mend the disk, "
            f"then start again: everything acknowledged is kept",
            problem=problem,
        )


class DeliveryError(HeadraceError):
    """About records on their way to a destination."""

    code = "delivery"


class RecordTooLargeError(DeliveryError):
    """One record is larger than any request may hold."""

    code = "record-too-large"

    def __init__(self, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"a record of {size_bytes} bytes (data and partition key) is over the limit of {limit_bytes}",
            size_bytes=size_bytes,
            limit_bytes=limit_bytes,
        )


class AlertError(HeadraceError):
    """A channel did not take a notice of an alert; it is tried again.

    Attributes:
        channel: Its name.
        problem: What went wrong, without secrets.
    """

    code = "alert"
    channel: str
    problem: str

    def __init__(self, *, channel: str, problem: str) -> None:
        super().__init__(f"{channel}: {problem}", channel=channel, problem=problem)


class BugError(HeadraceError):
    """A promise of our own is broken; the process stops rather than go on wrong."""

    code = "bug"

    def __init__(self, *, problem: str) -> None:
        super().__init__(f"internal error, please report it: {problem}", problem=problem)
