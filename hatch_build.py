"""Adds what mypyc compiled of the core to a wheel, when ``HEADRACE_COMPILED`` names the folder that holds it.

The Python files stay in it, to be read and for tracebacks; Python takes the compiled one where both are. Without the
variable, and for an editable install, the wheel is plain Python.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledCore(BuildHookInterface[Any]):
    """See the module."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the compiled files, and the tag of this Python and platform."""
        given = os.environ.get("HEADRACE_COMPILED", "")  # noqa: TID251 - no setting of the program: it is not there yet
        if not given or version == "editable":
            return
        folder = Path(given).resolve()
        compiled = sorted([*folder.glob("*.so"), *(folder / "headrace").rglob("*.so")])
        if not compiled:
            raise FileNotFoundError(f"nothing is compiled in {folder}: run `make compiled`")
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"] |= {str(path): str(path.relative_to(folder)) for path in compiled}
