"""Recordings: what was written is read back, whole records only."""

from __future__ import annotations

from pathlib import Path

from headrace.testing.recording import Recorder, Written, read_records


def written(number: int) -> Written:
    return Written(number, 1, number, "s", "shardId-0", str(number), f"clé {number}", bytes(number), 5)


def test_read_back(tmp_path: Path) -> None:
    """Records come back in order and equal, over several appends and recorders."""
    path = tmp_path / "records"
    records = [written(n) for n in range(300)]
    for part in (records[:100], [], records[100:]):
        recorder = Recorder(path)
        recorder.append(part)
        recorder.close()
    assert list(read_records(path)) == records


def test_torn_end(tmp_path: Path) -> None:
    """A file that is cut anywhere gives the records that are whole."""
    path = tmp_path / "records"
    recorder = Recorder(path)
    recorder.append([written(1), written(2)])
    recorder.close()
    body = path.read_bytes()
    first = 4 + int.from_bytes(body[:4])
    for cut in range(len(body)):
        path.write_bytes(body[:cut])
        assert len(list(read_records(path))) == (cut >= first)
