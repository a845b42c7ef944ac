"""What SPDX 2.3 requires of a JSON document, as far as tools/sbom uses it: problems() lists what is wrong."""
import re

ID = re.compile(r"^SPDXRef-[A-Za-z0-9.-]+$")
DATE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
URI = re.compile(r"^https?://[^\s#]+$")
CREATOR = re.compile(r"^(Tool|Person|Organization): \S.*$")
PURL = re.compile(r"^pkg:deb/[a-z]+/[a-z0-9.%A-F+-]+@[A-Za-z0-9.%~_-]+\?arch=[a-z0-9-]+(&distro=[a-z]+-[0-9.]+)?$")
HEX = {"SHA1": 40, "SHA256": 64}
WORD = re.compile(r"\(|\)|[A-Za-z0-9.+-]+|\S")
# The identifiers of the SPDX license list that packages of ours have or may come to have.
LICENSES = set("""Apache-2.0 MIT MPL-1.1 MPL-2.0 BSD-2-Clause BSD-3-Clause BSD-4-Clause Zlib ISC CC0-1.0 EPL-1.0 EPL-2.0 BSL-1.0
    Unlicense Artistic-2.0 GPL-1.0-only GPL-1.0-or-later GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later
    LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later""".split())
KINDS = {"DESCRIBES", "CONTAINS", "DEPENDS_ON", "DYNAMIC_LINK", "STATIC_LINK", "BUILD_DEPENDENCY_OF", "BUILD_TOOL_OF",
         "OPTIONAL_DEPENDENCY_OF"}
REQUIRED = {
    "document": ("spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo"),
    "package": ("name", "SPDXID", "downloadLocation"),
    "file": ("fileName", "SPDXID", "checksums"),
    "relationship": ("spdxElementId", "relatedSpdxElement", "relationshipType"),
    "license": ("licenseId", "extractedText"),
}


def license_is_well_formed(expression, own):
    """Grammar of SPDX annex D without `WITH`; `own`: the LicenseRefs whose texts the document has."""
    if expression in ("NOASSERTION", "NONE"):
        return True
    words, depth, operand = WORD.findall(expression), 0, True
    for word in words:
        if word == "(":
            if not operand:
                return False
            depth += 1
        elif word == ")":
            if operand or depth == 0:
                return False
            depth -= 1
        elif word in ("AND", "OR"):
            if operand:
                return False
            operand = True
        else:
            if not operand or word not in LICENSES | own:
                return False
            operand = False
    return bool(words) and not operand and depth == 0


def _missing(kind, entry):
    return [f"{kind} {entry.get('SPDXID', entry)}: no {field}" for field in REQUIRED[kind] if not entry.get(field)]


def _checksums(entry):
    for checksum in entry.get("checksums", []):
        algorithm, value = checksum.get("algorithm"), checksum.get("checksumValue", "")
        if algorithm not in HEX or not re.fullmatch("[0-9a-f]{%d}" % HEX[algorithm], value):
            yield f"{entry['SPDXID']}: checksum {checksum}"


def _package(entry, own):
    yield from _missing("package", entry)
    for field in ("licenseDeclared", "licenseConcluded"):
        if not license_is_well_formed(entry.get(field, "NOASSERTION"), own):
            yield f"{entry['SPDXID']}: {field} is '{entry[field]}'"
    supplier = entry.get("supplier", "NOASSERTION")
    if supplier != "NOASSERTION" and not re.match(r"^(Person|Organization): \S", supplier):
        yield f"{entry['SPDXID']}: supplier '{supplier}'"
    if entry.get("filesAnalyzed", True) and not entry.get("packageVerificationCode", {}).get("packageVerificationCodeValue"):
        yield f"{entry['SPDXID']}: files analyzed, but no verification code"
    for reference in entry.get("externalRefs", []):
        if reference.get("referenceCategory") != "PACKAGE-MANAGER" or reference.get("referenceType") != "purl" or \
                not PURL.match(reference.get("referenceLocator", "")):
            yield f"{entry['SPDXID']}: reference {reference}"
    yield from _checksums(entry)


def _file(entry):
    yield from _missing("file", entry)
    if not entry.get("fileName", "").startswith("./"):
        yield f"{entry['SPDXID']}: a file's name is relative and begins with ./"
    if "SHA1" not in {checksum.get("algorithm") for checksum in entry.get("checksums", [])}:
        yield f"{entry['SPDXID']}: SHA1 is mandatory"
    yield from _checksums(entry)


def _document(document):
    yield from _missing("document", document)
    for field, value in (("spdxVersion", "SPDX-2.3"), ("dataLicense", "CC0-1.0"), ("SPDXID", "SPDXRef-DOCUMENT")):
        if document.get(field) != value:
            yield f"{field} is {document.get(field)}, not {value}"
    if not URI.match(document.get("documentNamespace", "")):
        yield "the namespace is no absolute URI without #"
    info = document.get("creationInfo", {})
    if not DATE.match(info.get("created", "")):
        yield f"created is '{info.get('created')}'"
    if not info.get("creators") or not all(CREATOR.match(creator) for creator in info["creators"]):
        yield f"creators are {info.get('creators')}"


def problems(document):
    found = list(_document(document))
    packages, files = document.get("packages", []), document.get("files", [])
    texts = document.get("hasExtractedLicensingInfos", [])
    own = {entry.get("licenseId") for entry in texts}
    for entry in texts:
        found += _missing("license", entry)
        if not re.match(r"^LicenseRef-[A-Za-z0-9.-]+$", entry.get("licenseId", "")):
            found.append(f"license id {entry.get('licenseId')}")
    for entry in packages:
        found += _package(entry, own)
    for entry in files:
        found += _file(entry)
    ids = [document.get("SPDXID")] + [entry.get("SPDXID") for entry in packages + files]
    found += [f"{one} stands {ids.count(one)} times" for one in sorted(set(ids), key=str) if ids.count(one) > 1]
    found += [f"'{one}' is no SPDX id" for one in ids if not ID.match(one or "")]
    for relation in document.get("relationships", []):
        found += _missing("relationship", relation)
        if relation.get("relationshipType") not in KINDS:
            found.append(f"unknown relationship {relation}")
        found += [f"{relation}: nothing has the id {relation.get(end)}" for end in ("spdxElementId", "relatedSpdxElement")
                  if relation.get(end) not in ids]
    if not any(r.get("relationshipType") == "DESCRIBES" and r.get("spdxElementId") == document.get("SPDXID")
               for r in document.get("relationships", [])):
        found.append("the document describes nothing")
    return found
