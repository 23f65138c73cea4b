"""The one place that builds concrete things: state, sources, destinations and the engine between them."""

from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.observe import quantile_ms

from .acting import act
from .answers import SLOW_ANSWERS, answering, answers, read_folder, reading_folder
from .engines import build_engine, compiled, running, tune_memory
from .flows import check_flows, load_configuration, specs
from .folder import installation_key, open_state, restore_folder
from .inputs import make_inputs
from .rules import FileRules, Rules
from .serving import Serving

__all__ = [
    "SLOW_ANSWERS", "Engine", "FileRules", "Rules", "Serving", "act", "answering", "answers", "build_engine",
    "check_flows", "compiled", "installation_key", "load_configuration", "make_inputs", "open_state", "quantile_ms",
    "read_folder", "reading_folder", "restore_folder", "running", "specs", "tune_memory",
]  # fmt: skip
