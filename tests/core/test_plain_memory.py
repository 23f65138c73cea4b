"""C stays within its memory, whatever it is given: built with the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/headrace/core/native/module.c"
ROUNDS = 200_000 if os.environ.get("HEADRACE_SOAK") else 5_000
CC = shutil.which("cc")


def _library(name: str) -> str:
    found = subprocess.run([str(CC), f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, its C built with the sanitizers and all else as it is."""
    if CC is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("needs a C compiler and Python's headers")
    if not Path(_library("libasan.so")).is_absolute():
        pytest.skip("needs the compiler's sanitizers")
    folder = tmp_path_factory.mktemp("native")
    shutil.copytree(
        ROOT / "src/headrace", folder / "headrace", ignore=shutil.ignore_patterns("__pycache__", "static")
    )
    built = folder / f"headrace/core/_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run(
        [CC, "-g", "-O1", "-fPIC", "-shared", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
         f"-I{sysconfig.get_path('include')}", str(SOURCE), "-o", str(built)],
        check=True,
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_read_or_written_out_of_place(sanitized: Path, seed: int) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(sanitized),
        "PYTHONMALLOC": "malloc",  # so that the sanitizer sees each object's end
        "LD_PRELOAD": f"{_library('libasan.so')} {_library('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.fuzz_plain", str(seed), str(ROUNDS)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    counted = re.fullmatch(rf"{ROUNDS} tried, (\d+) read, (\d+) decided", done.stdout.strip())
    assert counted, done.stdout
    assert int(counted[1]) > ROUNDS // 3
    assert int(counted[2]) > ROUNDS // 10
