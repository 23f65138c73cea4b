"""Explain why an export was made and where it is, or why an input made none: one answer from journal and ledger.

What was decided is read as it was stored with the input. What the profile was before and after is found by folding
the inputs about it again (past.py); where the journal does not reach back far enough, the answer says so instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from headrace.core.flow import CompiledFlow
from headrace.core.model import BUCKETS, Export, Identity
from headrace.core.reasons import HELD
from headrace.core.times import from_ms
from headrace.errors import RefusedError
from headrace.runtimes.embedded.became import Became
from headrace.runtimes.embedded.facts import (
    Explanation,
    FlowFacts,
    ProfileFacts,
    add_export,
    of_flow,
    of_input,
    of_profile,
)
from headrace.runtimes.embedded.past import Line, Moment, Past
from headrace.state import reading, records
from headrace.state.base import State
from headrace.state.keys import DEAD_LETTER, MOST, OUTBOX, SETTLED, Keys
from headrace.state.ledger import Entry, Ledger, Query

_MOST_PENDING: Final = 200_000
_LETTERS: Final = 1_000


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be explained: one of an export, a place on the stream, an input, or a person at a time.

    Attributes:
        export_id: Id of an export.
        shard: Shard, with ``sequence``.
        sequence: Sequence number.
        ordinal: Ordinal of an input.
        identity: ``namespace:id``; the last input about its profile.
        at_ms: With ``identity``: the last one by then, epoch milliseconds.
        flow: With ``ordinal`` or ``identity``: only what this flow decided.
    """

    export_id: str = ""
    shard: str = ""
    sequence: str = ""
    ordinal: int = 0
    identity: str = ""
    at_ms: int = MOST
    flow: str = ""


class Explainer:
    """Answers questions about one sandbox.

    Args:
        state: Where everything lies.
        keys: Of the sandbox.
    """

    def __init__(self, state: State, keys: Keys) -> None:
        self._state, self._keys = state, keys
        self.past = Past(state, keys)
        self.ledger = Ledger(state, keys)
        self._moments: dict[int, Moment | None] = {}

    def explain(self, question: Question) -> Explanation:
        """Answer.

        Raises:
            RefusedError: There is nothing of that kind, or the question is none.
        """
        self._moments.clear()
        if question.export_id or question.sequence:
            entry = self._settled(question)
            if entry is not None:
                return self._input(entry.ordinal, entry.profile_id, entry.flow, entry)
            if question.export_id and (waiting := self._pending(question.export_id)) is not None:
                return self._input(waiting[1].ordinal, waiting[1].profile_id, waiting[0], None)
            raise RefusedError(self._not_found(question))
        if question.ordinal:
            line = self.past.line(question.ordinal)
            if line is None:
                raise RefusedError(f"the journal holds no input {question.ordinal}; {self._reach()}")
            return self._input(question.ordinal, line.profile_id, question.flow, None)
        if question.identity:
            line = self._about(question)
            return self._input(line.ordinal, line.profile_id, question.flow, None)
        raise RefusedError("name an export, a shard and sequence number, an input, or an identity")

    # -- finding ----------------------------------------------------------------------------------

    def _settled(self, question: Question) -> Entry | None:
        query = Query(export_id=question.export_id, shard=question.shard, sequence=question.sequence)
        return next(self.ledger.find(query, back=True), None)

    def _pending(self, export_id: str) -> tuple[str, Export] | None:
        """Flow id and export, when it waits among the first ones of the outbox."""
        seen = 0
        start, end = self._keys.space(OUTBOX)
        for key, value in self._state.scan(start, end):
            for export in records.decode_exports(value):
                if export.export_id == export_id:
                    return key[len(start) :].partition(b"\0")[0].decode(), export
                seen += 1
            if seen > _MOST_PENDING:
                return None
        return None

    def _not_found(self, question: Question) -> str:
        what = f"export {question.export_id}" if question.export_id else f"sequence number {question.sequence}"
        where = f" of shard {question.shard}" if question.shard else ""
        begins = next(self.ledger.find(Query()), None)
        since = f"the ledger begins at {from_ms(begins.settled_ms)}" if begins else "the ledger is empty"
        return f"{what}{where} is not in the ledger, and does not wait to be sent; {since}"

    def _reach(self) -> str:
        begins = self.past.begins()
        if begins is None:
            return "the journal is empty"
        return f"it begins with input {begins.ordinal} of {from_ms(begins.block.now_ms)}"

    def _about(self, question: Question) -> Line:
        """The last input about the profile that has an identity, by then; under the ids it had before merges, too."""
        namespace, _, key = question.identity.partition(":")
        identity = Identity(namespace.lower(), key)
        if not key:
            raise RefusedError(f"an identity is namespace:id, not {question.identity}")
        stored = self._state.get_many([self._keys.identity(*identity)])[0]
        if stored is None:
            raise RefusedError(f"no profile has the identity {question.identity}{self._refused(identity)}")
        found: list[Line] = []
        ids = [(records.decode_index_row(stored).profile_id, MOST)]
        seen = set()
        while ids:
            profile_id, last = ids.pop()
            if profile_id in seen:
                continue
            seen.add(profile_id)
            for line in self.past.about(profile_id, last=last, back=True):
                if line.block.now_ms <= question.at_ms:
                    found.append(line)
                    break
                ids += [(absorbed, line.ordinal) for absorbed in line.absorbed]
        if not found:
            when = "" if question.at_ms == MOST else f" by {from_ms(question.at_ms)}"
            raise RefusedError(f"the journal holds no input about {question.identity}{when}; {self._reach()}")
        if len(found) == 1:
            return found[0]
        found.sort(key=lambda line: line.ordinal)
        return next((line for line in reversed(found) if self._has(line, identity)), found[-1])

    def _has(self, line: Line, identity: Identity) -> bool:
        moment = self._moment(line)
        sides = (moment.before, moment.after) if moment is not None else ()
        return any(identity.id in side.identities.get(identity.namespace, ()) for side in sides if side is not None)

    def _moment(self, line: Line) -> Moment | None:
        """The profile around an input, folded once."""
        if line.ordinal not in self._moments:
            self._moments[line.ordinal] = self.past.moment(line)
        return self._moments[line.ordinal]

    def _refused(self, identity: Identity) -> str:
        """A hint, when refused updates name an identity that no profile has."""
        encoded = msgspec.json.encode(identity.id)
        letters = reading.dead_letters(self._state, self._keys, limit=_LETTERS, kind="update")
        ids = [letter.id for letter in letters if encoded in letter.body]
        return f"; refused updates name it: headrace dead-letters show {ids[0]}" if ids else ""

    # -- telling ----------------------------------------------------------------------------------

    def _input(self, ordinal: int, profile_id: str, only: str, entry: Entry | None) -> Explanation:
        line = self.past.line(ordinal)
        if line is None:
            return self._without_journal(ordinal, entry, profile_id, only)
        unknown: list[str] = []
        moment = self._moment(line)
        if moment is None and profile_id:
            unknown.append(
                "What the profile was before and after is not known: the journal does not reach back to where the "
                f"profile was made or kept whole; {self._reach()}."
            )
        facts = of_profile(line, profile_id, moment)
        decided = [
            (flow, reason)
            for flow, reason in zip(self.past.snapshot(line.block.config).flows, line.held, strict=True)
            if not only or flow.id == only
        ]
        made = self._made(line, moment)
        exports = {flow.id: made[flow.id].export_id if flow.id in made else "" for flow, held in decided if not held}
        entries, waiting = ({only: entry}, {}) if entry is not None else self._became(line, exports)
        flows = [
            self._flow(
                flow, line, moment, reason, waiting.get(flow.id, made.get(flow.id)), entries.get(flow.id),
                waits=flow.id in waiting,
            )
            for flow, reason in decided
        ]  # fmt: skip
        unknown += [
            f"What became of the export of flow {each.id} is not known: it does not wait, and is not in the ledger; "
            "it was settled before the ledger begins, or discarded."
            for each in flows
            if each.state == "unknown"
        ]
        if moment is not None and moment.done is not None and tuple(moment.done.held) != line.held:
            unknown.append("Folding the input again decides otherwise than was stored: what was stored is shown.")
        return Explanation(of_input(line, moment), facts, flows, unknown)

    def _without_journal(self, ordinal: int, entry: Entry | None, profile_id: str, only: str) -> Explanation:
        """What the ledger alone tells."""
        unknown = [
            f"The input (number {ordinal}), and what the profile was before and after, are not known: the journal "
            f"does not hold it; {self._reach()}."
        ]
        flows = []
        if entry is not None:
            flow = self.past.snapshot(entry.configuration).by_id.get(only)
            if flow is not None:
                facts = of_flow(flow, entry.configuration, exported=True, envelope=None)
                self._from_entry(facts, entry)
                unknown.append("The message is not known either.")
                flows.append(facts)
        version = entry.version if entry is not None else None
        return Explanation(None, ProfileFacts(profile_id, version_after=version), flows, unknown)

    def _made(self, line: Line, moment: Moment | None) -> dict[str, Export]:
        """Flow id to export, as folding makes them again."""
        done = moment.done if moment is not None else None
        flows = self.past.snapshot(line.block.config).flows
        return {flows[index].id: export for index, _, export in done.exports} if done is not None else {}

    def _became(self, line: Line, exports: Mapping[str, str]) -> tuple[dict[str, Entry], dict[str, Export]]:
        """Flow id to entry of the ledger, and to export that waits still, of what an input made."""
        became = Became(self._state, self._keys, self.ledger, line)
        entries = became.of(exports)
        waiting: dict[str, Export] = {}
        for flow_id in exports.keys() - entries.keys():
            export = self._waiting(flow_id, line.ordinal, line.profile_id)
            if export is not None:
                waiting[flow_id] = export
        left = {flow_id: exports[flow_id] for flow_id in exports.keys() - entries.keys() - waiting.keys()}
        return entries | (became.of(left, ever=True) if left else {}), waiting

    def _flow(
        self, flow: CompiledFlow, line: Line, moment: Moment | None, reason: str, export: Export | None,
        entry: Entry | None, *, waits: bool,
    ) -> FlowFacts:  # fmt: skip
        envelope = (moment.after or moment.before) if moment is not None else None
        facts = of_flow(flow, line.block.config, exported=not reason, envelope=envelope)
        if reason:
            facts.reason, facts.meaning = reason, HELD.get(reason, "")
            return facts
        if export is not None:
            add_export(facts, export)
        if entry is not None:
            self._from_entry(facts, entry)
        else:
            facts.state = "pending" if waits else "unknown"
        return facts

    def _from_entry(self, facts: FlowFacts, entry: Entry) -> None:
        facts.cause = entry.cause
        facts.export_id, facts.seq, facts.state = entry.export_id, entry.seq, entry.outcome
        facts.shard, facts.sequence, facts.attempts = entry.shard, entry.sequence, entry.attempts
        facts.made, facts.settled, facts.code = from_ms(entry.made_ms), from_ms(entry.settled_ms), entry.code
        if entry.code:
            for letter in self._letters(entry):
                facts.detail, facts.letter = letter.detail, letter.id
                assert letter.export is not None
                add_export(facts, letter.export)

    def _letters(self, entry: Entry) -> Iterator[records.DeadLetter]:
        """Its dead letter: stored in the same commit, at the same time."""
        start = self._keys.numbered(DEAD_LETTER, entry.settled_ms)
        for _, value in self._state.scan(start, self._keys.numbered(DEAD_LETTER, entry.settled_ms + 1)):
            letter = records.decode_letter(value)
            if letter.export is not None and letter.export.export_id == entry.export_id:
                yield letter

    def _waiting(self, flow_id: str, ordinal: int, profile_id: str) -> Export | None:
        """An export in the outbox that is not settled; any bucket may hold it."""
        for bucket in range(BUCKETS):
            prefix = self._keys.bucket(OUTBOX, flow_id, bucket)
            for key, value in self._state.scan_back(prefix, prefix + (ordinal + 1).to_bytes(8, "big")):
                exports = records.decode_exports(value)
                mark = self._state.get_many([self._keys.bucket(SETTLED, flow_id, bucket) + key[-8:]])[0]
                bits = int.from_bytes(mark, "little") if mark else 0
                for index, export in enumerate(exports):
                    if (export.ordinal, export.profile_id) == (ordinal, profile_id) and not bits >> index & 1:
                        return export
                break
        return None


def answer(state: State, keys: Keys, wanted: Mapping[str, Any]) -> Explanation:
    """Answer a question of plain values."""
    return Explainer(state, keys).explain(msgspec.convert(dict(wanted), Question))
