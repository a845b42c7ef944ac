"""Runs clang-format over every C++ file of ours; fails on the first difference of each. To mend: clang-format -i FILE."""
import shutil
import subprocess
import sys

import source_tree


def main():
    program = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not program:
        print("clang-format is not installed: run tools/setup --tests")
        return 77
    paths = list(source_tree.files(suffixes=source_tree.CPP))
    done = subprocess.run([program, "--dry-run", "-Werror", "--ferror-limit=1", *paths], cwd=source_tree.ROOT,
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(done.stderr)
        print(f"to mend: {program} -i FILE")
        return 1
    print(f"{len(paths)} files as clang-format writes them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
