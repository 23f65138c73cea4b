"""``python -m tests.e2e.told serve …``: the command, with an engine that learns of changes by being told alone.

Its look at the database now and then is put off for good: what reaches it all the same was told of.
"""

from __future__ import annotations

from headrace.bootstrap import published
from headrace.cli import main as cli

if __name__ == "__main__":
    vars(published)["_POLL_S"] = 1e6
    cli.main()
