"""What the programs were made of, read from the programs and from the build tree rather than from a list kept by hand."""
import dataclasses
import hashlib
import os
import pathlib
import re

import debian
from failure import Failure

PROGRAMS = ("dipper", "dipper-agent")
# Headers that only declare what the kernel does: nothing of theirs gets into a program.
ONLY_DECLARES = ("linux-libc-dev",)
# A library name that stands in a program as a string of its own is one that it may load at run time.
LOADED = re.compile(rb"(?<=\0)(lib[A-Za-z0-9_+.-]+\.so(?:\.[0-9]+)+)(?=\0)")
HOW_TO_BUILD = "cmake --preset release && cmake --build build/release --target dipper dipper-agent"


@dataclasses.dataclass
class Program:
    name: str
    sha1: str
    sha256: str
    needed: list       # library names of DT_NEEDED
    loaded: list       # library names that it may load at run time
    headers: set       # paths of the headers outside this project that it was compiled from


@dataclasses.dataclass
class Library:
    name: str          # as in DT_NEEDED
    path: str          # "": not installed here (only for libraries that are loaded at run time)
    needed: list
    package: str = ""  # "": no package owns it


@dataclasses.dataclass
class Evidence:
    version: str
    architecture: str                                 # Debian's word for it
    programs: list
    libraries: dict                                   # by library name
    compiled_in: dict = dataclasses.field(default_factory=dict)   # program name -> packages
    build_only: list = dataclasses.field(default_factory=list)    # packages of headers
    build_tools: list = dataclasses.field(default_factory=list)   # packages of the compilers
    packages: dict = dataclasses.field(default_factory=dict)      # fields by package


def machine_of(path):
    """(class, machine) of an ELF file; None: not one."""
    try:
        with open(path, "rb") as file:
            head = file.read(20)
    except OSError:
        return None
    return (head[4], head[18:20]) if len(head) == 20 and head[:4] == b"\x7fELF" else None


def dynamic(path):
    """(DT_NEEDED, DT_RPATH and DT_RUNPATH) of an ELF file."""
    text = debian.run(debian.tool("readelf"), "-dW", str(path))
    places = re.findall(r"\((?:RUNPATH|RPATH)\)[^\[]*\[([^\]]*)\]", text)
    return re.findall(r"\(NEEDED\)[^\[]*\[([^\]]*)\]", text), [p for place in places for p in place.split(":") if p]


def cache(build):
    """CMakeCache.txt as a dict."""
    try:
        text = (build / "CMakeCache.txt").read_text(encoding="utf-8")
    except OSError as error:
        raise Failure(f"'{build}' is no build tree: it has no CMakeCache.txt", f"build it first: {HOW_TO_BUILD}",
                      code=3) from error
    return dict(re.findall(r"^([^#/\s][^:\n]*):[A-Z]+=(.*)$", text, re.MULTILINE))


def check_program(path):
    if not path.is_file():
        raise Failure(f"'{path}' is not built", f"{HOW_TO_BUILD}, or name a tree that has it with --build", code=3)
    machine = machine_of(path)
    if machine is None:
        raise Failure(f"'{path}' is no complete ELF program", f"is a build still running? Else: {HOW_TO_BUILD}")
    if machine != machine_of("/proc/self/exe"):
        raise Failure(f"'{path}' is built for another kind of machine, whose libraries dpkg does not know here",
                      "run tools/sbom on a machine of that kind, with the programs built there or copied into its tree")


def headers(build, name):
    """Paths outside the project that ninja recorded for the program's objects."""
    ninja = [debian.tool("ninja"), "-n", "-C", str(build), "-t"]  # -n: leaves ninja's logs as they are
    if not (build / "build.ninja").is_file():
        raise Failure(f"'{build}' was not made by ninja, whose records say what was compiled in",
                      f"build it with a preset: {HOW_TO_BUILD}")
    objects = {line for line in debian.run(*ninja, "inputs", f"bin/{name}").splitlines() if line.endswith(".o")}
    found, known, current = set(), set(), None
    own = (os.path.realpath(build) + "/", os.path.realpath(pathlib.Path(__file__).parents[2]) + "/")
    for line in debian.run(*ninja, "deps").splitlines():
        if line.startswith("    "):
            path = os.path.normpath(os.path.join(build, line.strip()))
            if current in objects and not os.path.realpath(path).startswith(own):
                found.add(path)
        elif ": #deps " in line:
            current = line.partition(": #deps ")[0]
            known.add(current)
    if not objects or objects - known:
        raise Failure(f"the records of '{build}' lack {len(objects - known)} of the {len(objects)} objects of {name}",
                      f"finish the build first: {HOW_TO_BUILD}")
    linked = os.stat(build / "bin" / name).st_mtime_ns
    newer = sorted(path for path in objects if os.stat(build / path).st_mtime_ns > linked)
    if newer:
        raise Failure(f"{name} is older than its object {newer[0]}, so the records are not of this program",
                      f"finish the build first: {HOW_TO_BUILD}")
    return found


def read_program(build, name):
    data = (build / "bin" / name).read_bytes()
    needed, _ = dynamic(build / "bin" / name)
    loaded = sorted({match.decode() for match in LOADED.findall(data)} - set(needed))
    return Program(name, hashlib.sha1(data).hexdigest(), hashlib.sha256(data).hexdigest(), sorted(needed), loaded,
                   headers(build, name))


def resolve(program, build):
    """Every library that the program needs, and what those need, by name."""
    known, machine = debian.linker_cache(), machine_of(build / "bin" / program.name)
    _, places = dynamic(build / "bin" / program.name)
    origin = str((build / "bin").resolve())
    places = [place.replace("$ORIGIN", origin).replace("${ORIGIN}", origin) for place in places]
    result, waiting = {}, [(name, program.name) for name in program.needed]
    while waiting:
        name, by = waiting.pop()
        if name in result:
            continue
        candidates = [os.path.join(place, name) for place in places] + known.get(name, [])
        path = next((c for c in candidates if machine_of(c) == machine), None)
        if path is None:
            raise Failure(f"the library {name}, which {by} needs, is not installed", "run tools/setup, then build again")
        result[name] = Library(name, path, sorted(dynamic(path)[0]))
        waiting += [(inner, name) for inner in result[name].needed]
    for name in program.loaded:  # loaded only when it is there, so it may be missing
        path = next((c for c in known.get(name, []) if machine_of(c) == machine), "")
        result.setdefault(name, Library(name, path, []))
    return result


def sort_headers(result, by_header):
    """Splits the packages of headers: code of theirs is in the programs, or they only served to build."""
    sources = {result.packages[library.package]["source:Package"] for library in result.libraries.values()
               if library.package}
    build_only = set()
    for program in result.programs:
        packages = {by_header[path] for path in program.headers if path in by_header}
        inside = {package for package in packages if result.packages[package]["Package"] not in ONLY_DECLARES
                  and result.packages[package]["source:Package"] not in sources}
        result.compiled_in[program.name] = sorted(inside)
        build_only |= packages - inside
    result.build_only = sorted(build_only)


def gather(build):
    for name in PROGRAMS:
        check_program(build / "bin" / name)
    settings = cache(build)
    result = Evidence(settings.get("CMAKE_PROJECT_VERSION", ""), debian.run(debian.tool("dpkg"), "--print-architecture").strip(),
                      [read_program(build, name) for name in PROGRAMS], {})
    for program in result.programs:
        result.libraries.update(resolve(program, build))
    compilers = {os.path.realpath(settings[key]) for key in ("CMAKE_CXX_COMPILER", "FLATC") if settings.get(key)}
    all_headers = set().union(*(program.headers for program in result.programs))
    paths = {library.path for library in result.libraries.values() if library.path}
    by_path = debian.owners(paths | all_headers | compilers)
    result.packages = debian.describe(set(by_path.values()))
    for library in result.libraries.values():
        library.package = by_path.get(library.path, "")
    result.build_tools = sorted({by_path[path] for path in compilers if path in by_path})
    sort_headers(result, by_path)
    unowned = sorted(path for path in all_headers if path not in by_path)
    if unowned:
        raise Failure(f"no package owns {unowned[0]} and {len(unowned) - 1} other headers that were compiled in",
                      "build from the packages of tools/setup, so that it can be said what is inside")
    return result
