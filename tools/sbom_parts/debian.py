"""What dpkg and the dynamic linker know: which package owns a file, what that package is, where a library lies."""
import os
import pathlib
import re
import shutil
import subprocess

import licence
from failure import Failure

BATCH = 400  # paths in one call of dpkg-query, far below the system's limit on arguments
FIELDS = ("Package", "Version", "Architecture", "source:Package", "source:Version", "Homepage", "binary:Summary")


def tool(name):
    """Path of a program that must be there; ldconfig often lies outside a user's PATH."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not found:
        raise Failure(f"the program '{name}' is missing",
                      "run tools/sbom on the Debian machine that built the programs (tools/setup installs what it needs)")
    return found


def run(*command, codes=(0,)):
    environment = dict(os.environ, LC_ALL="C")
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    if done.returncode not in codes:
        raise Failure(f"'{' '.join(command[:4])}' failed: {done.stderr.strip() or done.returncode}",
                      "run that command alone to see why")
    return done.stdout


def other_names(path):
    """Names under which dpkg may know a file: as it is, its target, and each with and without /usr (merged /usr)."""
    for name in (path, os.path.realpath(path)):
        yield name
        yield name[4:] if name.startswith("/usr/") else "/usr" + name


def owners(paths):
    """Package (as NAME or NAME:ARCH) of each path that a package owns."""
    names = {name: path for path in sorted(paths) for name in other_names(path)}
    found = {}
    every = sorted(names)
    for begin in range(0, len(every), BATCH):
        # Exit 1: some path is unknown; the others are printed all the same.
        text = run(tool("dpkg-query"), "-S", "--", *every[begin:begin + BATCH], codes=(0, 1))
        for line in text.splitlines():
            match = re.match(r"^([a-z0-9][^ ,]*)(?:, [^:]\S*)*: (/.*)$", line)
            if match and match.group(2) in names:
                found.setdefault(names[match.group(2)], match.group(1))
    return found


def describe(packages):
    """Fields of each package: dict by the name given."""
    if not packages:
        return {}
    form = "${binary:Package}\\t" + "\\t".join("${%s}" % field for field in FIELDS) + "\\n"
    result = {}
    for line in run(tool("dpkg-query"), "-W", "-f", form, *sorted(packages)).splitlines():
        name, *values = line.split("\t")
        fields = dict(zip(FIELDS, values))
        for known in (name, fields["Package"], f"{fields['Package']}:{fields['Architecture']}"):
            if known in packages:
                result[known] = fields
    return result


def copyright_of(package):
    """The package's copyright file, or None when it has none."""
    path = pathlib.Path("/usr/share/doc") / package / "copyright"
    try:
        return licence.Copyright(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def distribution():
    """(id, version) of the system, such as ("debian", "12")."""
    try:
        text = pathlib.Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        text = ""
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, re.MULTILINE))
    return fields.get("ID", "linux"), fields.get("VERSION_ID", "")


def linker_cache():
    """Candidates of each library name, in the order in which the dynamic linker prefers them."""
    result = {}
    for name, path in re.findall(r"^\t(\S+) \([^)]*\) => (\S+)$", run(tool("ldconfig"), "-p"), re.MULTILINE):
        result.setdefault(name, []).append(path)
    return result
