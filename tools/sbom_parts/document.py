"""The evidence as an SPDX 2.3 document in JSON: everything is sorted, nothing depends on the clock, so runs repeat."""
import hashlib
import json
import re
import time
from urllib.parse import quote

import debian

LAST_SECOND = 253402300799  # end of the year 9999, the last that the date form can say
DOCUMENT = "SPDXRef-DOCUMENT"
DIPPER = "SPDXRef-Package-dipper"
NAMESPACE = "https://spdx.org/spdxdocs/dipper"
LICENSE = "Apache-2.0"


def spdx_id(kind, name):
    """SPDX allows letters, digits, dots and hyphens; C++ libraries have plus signs."""
    return f"SPDXRef-{kind}-" + re.sub(r"[^A-Za-z0-9.-]", "-", name.replace("+", "plus"))


def file_id(program):
    return spdx_id("File", program.name)


class Document:
    def __init__(self, evidence):
        self.evidence = evidence
        self.system = debian.distribution()
        self.packages = {}
        self.relations = set()
        self.extracted = {}
        self._add_dipper()
        self._add_libraries()
        self._add_headers()

    def _relate(self, element, kind, related):
        self.relations.add((element, kind, related))

    def _add_dipper(self):
        programs = self.evidence.programs
        code = hashlib.sha1("".join(sorted(p.sha1 for p in programs)).encode()).hexdigest()
        self.packages[DIPPER] = {
            "name": "dipper", "SPDXID": DIPPER, "versionInfo": self.evidence.version,
            "packageVerificationCode": {"packageVerificationCodeValue": code},
            "filesAnalyzed": True, "downloadLocation": "NOASSERTION", "supplier": "NOASSERTION",
            "licenseDeclared": LICENSE, "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION",
            "licenseInfoFromFiles": ["NOASSERTION"], "primaryPackagePurpose": "APPLICATION",
            "summary": "Agent that learns on edge devices in fixed memory, and its command for the desk",
        }
        self._relate(DOCUMENT, "DESCRIBES", DIPPER)
        for program in programs:
            self._relate(DIPPER, "CONTAINS", file_id(program))

    def _files(self):
        return [{
            "fileName": f"./bin/{program.name}", "SPDXID": file_id(program), "fileTypes": ["BINARY"],
            "checksums": [{"algorithm": "SHA1", "checksumValue": program.sha1},
                          {"algorithm": "SHA256", "checksumValue": program.sha256}],
            "licenseConcluded": "NOASSERTION", "licenseInfoInFiles": ["NOASSERTION"], "copyrightText": "NOASSERTION",
        } for program in sorted(self.evidence.programs, key=lambda program: program.name)]

    def _debian(self, package):
        """Adds a Debian package, once; returns its id."""
        fields = self.evidence.packages[package]
        name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
        identity = spdx_id("Package-deb", name)
        if identity in self.packages:
            return identity
        system, release = self.system
        distro = f"&distro={quote(system)}-{quote(release)}" if release else ""
        source = f"{fields['source:Package']} {fields['source:Version']}"
        entry = {
            "name": name, "SPDXID": identity, "versionInfo": version, "filesAnalyzed": False,
            "supplier": f"Organization: {system.capitalize()}", "downloadLocation": "NOASSERTION",
            "sourceInfo": f"built from {system.capitalize()}'s source package {source}",
            "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION", **self._licence(name),
            "summary": fields["binary:Summary"],
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                "referenceLocator": f"pkg:deb/{quote(system)}/{quote(name, safe='')}@{quote(version, safe='~')}"
                                    f"?arch={architecture}{distro}"}],
        }
        if fields["Homepage"]:
            entry["homepage"] = fields["Homepage"]
        self.packages[identity] = entry
        return identity

    def _licence(self, name):
        path = f"/usr/share/doc/{name}/copyright"
        found = debian.copyright_of(name)
        if found is None or not found.readable:
            why = "is missing" if found is None else "is not machine readable (DEP 5)"
            return {"licenseDeclared": "NOASSERTION", "licenseComments": f"{path} {why}"}
        for reference, (label, text) in found.extracted.items():
            self.extracted.setdefault(reference, {"licenseId": reference, "name": label, "extractedText": text})
        comment = f"declared: `Files: *` of {path}"
        if found.others:
            comment += "; other parts of its source: " + "; ".join(found.others)
        return {"licenseDeclared": found.declared, "licenseComments": comment}

    def _library(self, library):
        """Id of the package that brings a library; one that no package owns stands for itself, with its digest."""
        if library.package:
            return self._debian(library.package)
        identity = spdx_id("Package-library", library.name)
        entry = {"name": library.name, "SPDXID": identity, "filesAnalyzed": False, "downloadLocation": "NOASSERTION",
                 "supplier": "NOASSERTION", "licenseDeclared": "NOASSERTION", "licenseConcluded": "NOASSERTION",
                 "copyrightText": "NOASSERTION", "primaryPackagePurpose": "LIBRARY"}
        if library.path:
            with open(library.path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            entry["checksums"] = [{"algorithm": "SHA256", "checksumValue": digest}]
            entry["packageFileName"] = library.name
            entry["comment"] = "no package of the system owns this library"
        else:
            entry["comment"] = "not installed where this was written"
        self.packages[identity] = entry
        return identity

    def _add_libraries(self):
        libraries = self.evidence.libraries
        ids = {name: self._library(library) for name, library in sorted(libraries.items())}
        for program in self.evidence.programs:
            for name in program.needed:
                self._relate(file_id(program), "DYNAMIC_LINK", ids[name])
                self._relate(DIPPER, "DEPENDS_ON", ids[name])
            for name in set(program.loaded):
                self._relate(ids[name], "OPTIONAL_DEPENDENCY_OF", DIPPER)
        for name, library in libraries.items():
            for inner in library.needed:
                if ids[inner] != ids[name]:
                    self._relate(ids[name], "DEPENDS_ON", ids[inner])

    def _add_headers(self):
        for program in self.evidence.programs:
            for package in self.evidence.compiled_in[program.name]:
                self._relate(file_id(program), "STATIC_LINK", self._debian(package))
        for package in self.evidence.build_only:
            self._relate(self._debian(package), "BUILD_DEPENDENCY_OF", DIPPER)
        for package in self.evidence.build_tools:
            self._relate(self._debian(package), "BUILD_TOOL_OF", DIPPER)

    def as_dict(self, seconds):
        content = {
            "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": DOCUMENT,
            "name": f"dipper-{self.evidence.version}-{self.evidence.architecture}",
            "creationInfo": {"created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)),
                             "creators": [f"Tool: dipper-sbom-{self.evidence.version}"]},
            "packages": [self.packages[DIPPER]] + [entry for key, entry in sorted(self.packages.items()) if key != DIPPER],
            "files": self._files(),
            "relationships": [{"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}
                              for element, kind, related in sorted(self.relations)],
        }
        if self.extracted:
            content["hasExtractedLicensingInfos"] = [entry for _, entry in sorted(self.extracted.items())]
        # Equal content has an equal name, and different content another.
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        content["documentNamespace"] = f"{NAMESPACE}-{self.evidence.version}-{digest}"
        return content


def text(evidence, seconds):
    return json.dumps(Document(evidence).as_dict(seconds), indent=2, ensure_ascii=False) + "\n"
