"""Every process-wide setting, once; the only reader of the environment.

A setting ``data_dir`` is read from ``HEADRACE_DATA_DIR``; the command line overrides it. docs/settings.md is
written from the table (``page``), and a test holds it current. What belongs to flows and connections is in the
configuration file instead (docs/configuration.md).
"""

from headrace.settings.page import page
from headrace.settings.reading import as_environment, data_dir, environment, load
from headrace.settings.row import Setting
from headrace.settings.secret import Secret
from headrace.settings.table import TABLE, Settings

__all__ = [
    "TABLE", "Secret", "Setting", "Settings", "as_environment", "data_dir", "environment", "load", "page",
]  # fmt: skip
