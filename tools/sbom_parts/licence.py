"""Licences of Debian's machine-readable copyright files (DEP 5) as SPDX expressions. A name that SPDX does not know
becomes a LicenseRef with its text; a file that cannot be read by machine is NOASSERTION."""
import re

FORMAT = re.compile(r"^Format:\s*https?://\S+copyright-format/1\.0/?\s*$", re.IGNORECASE)
GNU = re.compile(r"^(A?GPL|LGPL)-([123])(?:\.([01]))?(\+)?$", re.IGNORECASE)
NAMES = {  # Debian's short names, in lower case
    "expat": "MIT", "mit": "MIT", "apache-2": "Apache-2.0", "apache-2.0": "Apache-2.0", "mpl-2": "MPL-2.0",
    "mpl-2.0": "MPL-2.0", "mpl-1.1": "MPL-1.1", "bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause",
    "bsd-4-clause": "BSD-4-Clause", "zlib": "Zlib", "isc": "ISC", "cc0": "CC0-1.0", "cc0-1.0": "CC0-1.0",
    "epl-1.0": "EPL-1.0", "epl-2.0": "EPL-2.0", "bsl-1.0": "BSL-1.0", "unlicense": "Unlicense",
    "artistic-2.0": "Artistic-2.0",
}


def stanzas(text):
    """Fields of each stanza, names in lower case; continuation lines keep their line ends."""
    for block in re.split(r"\n(?:[ \t]*\n)+", text):
        fields, name = {}, None
        for line in block.split("\n"):
            match = re.match(r"^([A-Za-z][A-Za-z0-9-]*):(.*)$", line)
            if match:
                name = match.group(1).lower()
                fields[name] = match.group(2).strip()
            elif name and line[:1] in (" ", "\t"):
                rest = line.strip()
                fields[name] += "\n" + ("" if rest == "." else rest)  # a lone dot stands for an empty line
        if fields:
            yield fields


def spdx_name(name):
    """SPDX identifier of one Debian short name, or None."""
    gnu = GNU.match(name)
    if gnu:
        family, major, minor, later = gnu.groups()
        return f"{family.upper()}-{major}.{minor or 0}-{'or-later' if later else 'only'}"
    return NAMES.get(name.lower())


class Copyright:
    """What one copyright file says: `declared` (of `Files: *`), `others` (names of all other parts), `extracted` (the
    texts of names that SPDX does not know, by LicenseRef)."""

    def __init__(self, text):
        self.declared = "NOASSERTION"
        self.others = []
        self.extracted = {}
        self.readable = any(FORMAT.match(line) for line in text.split("\n")[:5])
        if not self.readable:
            return
        parts = list(stanzas(text))
        self._texts = {}
        for part in parts:
            short, _, body = part.get("license", "").partition("\n")
            if short and body:
                self._texts.setdefault(short.strip().lower(), body.strip())
        names = [(part["files"].split(), part["license"].partition("\n")[0].strip()) for part in parts
                 if part.get("files") and part.get("license")]
        whole = [name for files, name in names if "*" in files and name]
        if whole:
            self.declared = self._expression(whole[0])
        self.others = sorted({name for _, name in names if name} - set(whole[:1]))

    def _expression(self, line):
        # A comma before a word binds weaker than `and` and `or` without one.
        pieces = re.split(r",\s+(and|or)\s+", line)
        groups = [self._group(piece, len(pieces) > 1) for piece in pieces[::2]]
        return "".join(f" {word.upper()} {group}" for word, group in zip(["", *pieces[1::2]], groups))[2:].strip()

    def _group(self, line, inside):
        pieces = re.split(r"\s+(and|or)\s+", line)
        words = [piece.upper() if index % 2 else self._one(piece.strip()) for index, piece in enumerate(pieces)]
        joined = " ".join(words)
        return f"({joined})" if inside and len(words) > 1 else joined

    def _one(self, name):
        known = spdx_name(name)
        if known:
            return known
        reference = "LicenseRef-Debian-" + re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-")
        self.extracted[reference] = (name, self._texts.get(name.lower(), name))
        return reference
