"""What is committed is fit for anybody's machine: no hosts, no paths of ours, no links to nowhere."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Built from pieces, so that this file does not hold what it looks for.
_INDEX = r"(?:[a-z0-9-]+\.)*(?:{})".format(
    "|".join(re.escape(".".join(parts)) for parts in (
        ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("yarnpkg", "com"),
        ("deb", "debian", "org"), ("security", "debian", "org"),
    ))
)  # fmt: skip
FORBIDDEN = {
    "a package index's host": re.compile(rf"(?i)\b{_INDEX}\b"),
    "an option that names an index": re.compile(
        r"(?m)^\s*(?:--|)(?:extra-)?index-url\b|--(?:find-links|trusted-host)\b"
    ),
    # /home/x and user:secret are the examples that tests may use.
    "a path of one machine": re.compile(r"(?<![\w.~:/$}-])/(?:home(?!/x\b)|root|Users|work|opt)/[\w.]"),
    "a credential in a URL": re.compile(r"https?://(?!user:secret@)[^\s/@:]+:[^\s/@]+@"),
}
MARKDOWN_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@cache
def committed() -> tuple[Path, ...]:
    """Every file under version control that exists, and those about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout  # fmt: skip
    return tuple(
        ROOT / os.fsdecode(name)
        for name in sorted(set(listed.split(b"\0")))
        if name and (ROOT / os.fsdecode(name)).is_file()
    )


def name(path: Path) -> str:
    """A file's path as the repository has it."""
    return path.relative_to(ROOT).as_posix()


def texts() -> list[tuple[str, str]]:
    """Every committed file that is UTF-8 text, with its name."""
    found = []
    for path in committed():
        try:
            found.append((name(path), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def documents() -> list[Path]:
    """Every committed page."""
    return [path for path in committed() if path.suffix == ".md"]


@cache
def targets() -> frozenset[str]:
    """The Makefile's targets."""
    return frozenset(re.findall(r"(?m)^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8")))


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    """No committed file names a registry's host, one machine's paths, or a credential in a URL."""
    pattern = FORBIDDEN[what]
    found = [
        f"{file}:{text.count(chr(10), 0, hit.start()) + 1}: {hit.group()}"
        for file, text in texts()
        for hit in pattern.finditer(text)
    ]
    assert not found, f"{what} in:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a package index's host", "https://files." + "pythonhosted" + ".org/x"),
        ("a package index's host", '"resolved": "https://registry.' + "npmjs" + '.org/a"'),
        ("an option that names an index", "--extra-" + "index-url x"),
        ("a path of one machine", 'open("/' + 'home/ann/x")'),
        ("a credential in a URL", "http://ann:" + "secret@example.com"),
    ],
)
def test_the_patterns_find_what_they_are_for(what: str, text: str) -> None:
    """Each pattern matches a planted example, so that an empty search means something."""
    assert FORBIDDEN[what].search(text)


def test_lock_files_hold_no_addresses() -> None:
    """npm lock files name packages and hashes, never where they were fetched."""
    locks = [path for path in committed() if path.name == "package-lock.json"]
    assert locks
    for path in locks:
        text = path.read_text(encoding="utf-8")
        assert '"resolved"' not in text, name(path)
        assert '"integrity"' in text, name(path)


def test_every_requirement_is_pinned_with_hashes() -> None:
    """Each requirement is one exact version with SHA-256 hashes, and the files agree with each other."""
    files = sorted((ROOT / "requirements").glob("*.txt"))
    assert [path.name for path in files] == ["bench.txt", "dev.txt", "run.txt"]
    versions: dict[tuple[str, str], set[str]] = {}
    for path in files:
        entries = re.split(r"\n(?=\S)", path.read_text(encoding="utf-8").strip())
        for entry in entries:
            head, *hashes = (line.strip(" \\") for line in entry.splitlines())
            assert re.fullmatch(r"[a-z0-9._-]+==[^\s;]+(?: ; .+)?", head), f"{path.name}: {head}"
            assert hashes, f"{path.name}: {head} has no hash"
            assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes), f"{path.name}: {head}"
            package, _, pinned = head.partition("==")
            version, _, where = pinned.partition(" ; ")
            versions.setdefault((package, where), set()).add(version)
    assert all(len(heads) == 1 for heads in versions.values())


@pytest.mark.parametrize("path", documents(), ids=name)
def test_relative_links_resolve(path: Path) -> None:
    """Every relative link of a page leads to a committed file or folder, and an anchor to a heading there."""
    known = set(committed())
    for target in MARKDOWN_LINK.findall(re.sub(r"(?s)```.*?```", "", path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        assert place in known or any(place in other.parents for other in known), f"{name(path)} -> {target}"
        if anchor:
            assert anchor in anchors(place), f"{name(path)} -> {target}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", documents(), ids=name)
def test_make_targets_exist(path: Path) -> None:
    """Every `make …` that a page names is a target of the Makefile."""
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z-]+)", text)) | set(re.findall(r"(?m)^\s*make ([a-z-]+)", text))
    assert named <= targets(), f"{name(path)}: {sorted(named - targets())}"


def test_readme_names_what_a_person_needs() -> None:
    """The first page has the two commands, the promise, and says that the project is independent."""
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    needed = (
        "make run",
        "make test",
        "At least once, in order per profile, nothing dropped without a dead letter",
        "independent of Adobe, Amazon and Microsoft",
    )
    for words in needed:
        assert words in text, words


def test_architecture_is_short_and_its_paths_exist() -> None:
    """The map stays under 200 lines, names all ten promises, and every test it names is there."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert text.count("\n") < 200
    assert re.findall(r"(?m)^\| (I\d+) \|", text) == [f"I{n}" for n in range(1, 11)]
    for file, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text):
        assert (ROOT / file).is_file(), file
        assert not test or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"


def test_decisions_are_numbered_and_listed() -> None:
    """Decision pages count up from 0001 without a gap, their titles match, and the list names each."""
    folder = ROOT / "docs" / "decisions"
    pages = sorted(folder.glob("[0-9]*.md"))
    assert [page.name[:4] for page in pages] == [f"{n:04}" for n in range(1, len(pages) + 1)]
    listed = (folder / "README.md").read_text(encoding="utf-8")
    for page in pages:
        title = page.read_text(encoding="utf-8").splitlines()[0]
        assert re.sub(r"[^\w]+", "-", title.removeprefix("# ").lower()) == page.stem, page.name
        assert f"]({page.name})" in listed, page.name


def test_changelog_fragments_have_a_kind() -> None:
    """Each fragment's name ends in a known kind, it is not empty, and a breaking one tells how to migrate."""
    for path in sorted((ROOT / "changelog.d").glob("*.md")):
        if path.name == "README.md":
            continue
        kind = path.name.removesuffix(".md").rpartition(".")[2]
        assert kind in {"added", "changed", "fixed", "removed", "security", "breaking"}, path.name
        text = path.read_text(encoding="utf-8")
        assert text.strip(), path.name
        assert kind != "breaking" or "Migration:" in text, path.name


def test_ci_runs_what_a_person_types() -> None:
    """CI's script is executable and calls `make test`, nothing of its own."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = [line for line in script.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert commands[-1] == "exec make test"
