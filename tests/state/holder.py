"""Run as a child: holds a data folder, commits numbered keys, and says on its output what is durable.

``python -m tests.state.holder FOLDER COUNT``: commits COUNT keys one by one, each synced and then told; then
one more that is committed and not synced, says ``held``, and waits to be killed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from headrace.state.rocksdb import RocksState


def main() -> None:
    state = RocksState(Path(sys.argv[1]), cache_bytes=1 << 20, memtable_bytes=1 << 20)
    for n in range(int(sys.argv[2])):
        batch = state.batch()
        batch.put(b"k%06d" % n, b"v" * 100)
        batch.put(b"last", b"%d" % n)
        state.commit(batch)
        state.sync()
        print(n, flush=True)
    batch = state.batch()
    batch.put(b"unsynced", b"")
    batch.put(b"unsynced-too", b"")
    state.commit(batch)
    print("held", flush=True)
    time.sleep(60)


if __name__ == "__main__":
    main()
