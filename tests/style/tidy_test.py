"""Runs clang-tidy with the project's .clang-tidy over the sources in a build's compile_commands.json.

usage: tidy_test.py BUILD_DIR [--tests] [--under=FOLDER,...]

A file is checked again only when it, a header of ours that it includes, its flags or .clang-tidy changed: passes are
remembered in BUILD_DIR/tidy. With --under only files below these folders.
With --tests it checks the tests' own sources and nothing else, without it all others.
"""
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import source_tree

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def sources(build, with_tests):
    """Yields (path, flags) of every compiled source of ours that is to be checked."""
    entries = json.loads((build / "compile_commands.json").read_text())
    for entry in sorted(entries, key=lambda e: e["file"]):
        path = Path(entry["file"])
        if not path.is_relative_to(source_tree.ROOT) or path.is_relative_to(build):
            continue
        name = path.relative_to(source_tree.ROOT).as_posix()
        under = [a.removeprefix("--under=").split(",") for a in sys.argv if a.startswith("--under=")]
        if under and not name.startswith(tuple(under[0])):
            continue
        if with_tests == name.startswith("tests/"):
            yield name, entry["command"]


def fingerprint(name, flags, build):
    digest = hashlib.sha256((source_tree.text(".clang-tidy") + flags).encode())
    seen, todo = set(), [name]
    while todo:
        path = todo.pop()
        for place in (source_tree.ROOT / path, build / "generated" / path):
            if path not in seen and place.exists():
                seen.add(path)
                content = place.read_text(encoding="utf-8")
                digest.update(path.encode() + content.encode())
                todo += sorted(INCLUDE.findall(content))
    return digest.hexdigest()


def main():
    program = shutil.which("clang-tidy-14") or shutil.which("clang-tidy")
    if not program:
        print("clang-tidy is not installed: run tools/setup --tests")
        return 77
    build = Path(sys.argv[1]).resolve()
    with_tests = "--tests" in sys.argv
    memory = build / ("tidy-tests" if with_tests else "tidy")
    memory.mkdir(exist_ok=True)
    wanted, todo = set(), []
    found = dict(sources(build, with_tests))
    whole = not any(a.startswith("--under=") for a in sys.argv)
    if not found or (whole and "/unity_0_cxx.cxx" in (build / "compile_commands.json").read_text()):
        print(f"{build} compiles several sources as one, so that they cannot be checked; run: cmake -DDIPPER_UNITY=OFF {build}")
        return 1
    for name, flags in found.items():
        mark = fingerprint(name, flags, build)
        wanted.add(mark)
        if not (memory / mark).exists():
            todo.append((name, mark))

    def check(item):
        name, mark = item
        # libgcc's and the warnings' own flags are for g++: unknown ones must not count as findings.
        done = subprocess.run([program, "-p", str(build), "--quiet", "--extra-arg=-Wno-unknown-warning-option", name],
                              cwd=source_tree.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode == 0:
            (memory / mark).write_text(name + "\n")
        return name, done.returncode, done.stdout + (done.stderr if done.returncode else "")

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for count, (name, status, text) in enumerate(pool.map(check, todo), 1):
            print(f"[{count}/{len(todo)}] {name}{'' if status == 0 else ' FAILED'}", flush=True)
            if status:
                failed += 1
                print(text)
    for old in memory.iterdir():
        if old.name not in wanted:
            old.unlink()
    print(f"clang-tidy: {len(wanted)} files, {len(todo)} checked now, {failed} with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
