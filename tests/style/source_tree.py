"""The project's own files, found without git so that a source archive can be checked too."""
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE_FOLDERS = ("agent", "hal", "tools", "tests", "firmware", "toolchains", ".ci", "docs")
CPP = (".h", ".cc")
# Not ours to style: bytes kept as they came.
KEPT_AS_THEY_CAME = ("tests/data/", "tests/fuzz/corpus/")
SKIPPED_FOLDERS = {"build", "__pycache__", "node_modules", ".git"}


def files(root=ROOT, suffixes=None, folders=CODE_FOLDERS):
    """Yields paths relative to `root`, in a fixed order; `suffixes` None: every file."""
    for folder in folders:
        for here, inner, names in os.walk(Path(root) / folder):
            inner[:] = sorted(set(inner) - SKIPPED_FOLDERS)
            for name in sorted(names):
                path = (Path(here) / name).relative_to(root).as_posix()
                if path.startswith(KEPT_AS_THEY_CAME) or (suffixes and not path.endswith(suffixes)):
                    continue
                yield path


def text(path, root=ROOT):
    return (Path(root) / path).read_text(encoding="utf-8")
