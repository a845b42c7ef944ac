"""Holds the include rule: which room of the house may include which, and which third-party library it may know.

The table below is the one of docs/reference/house.md. The test also plants violations and requires that each is
found, so that a rule that stopped matching cannot pass unnoticed.
"""
import re
import unittest

import source_tree

# room -> rooms it may include besides itself.
BASE = {"agent/base"}
PURE = BASE | {"agent/schema"}
STORE = PURE | {"hal/api"}
UPDATE = STORE | {"agent/package", "agent/store", "agent/learn"}
RUNTIME = UPDATE | {"agent/update", "agent/stream", "agent/telemetry"}
CONFIG = RUNTIME | {"agent/link", "agent/runtime"}
APP = CONFIG | {"agent/app/config", "hal/linux", "hal/sim"}
TOOLS = (APP - {"agent/app/config"}) | {"tools"}
MAY_INCLUDE = {
    "agent/base": set(),
    "agent/schema": set(),
    "hal/api": BASE,
    "agent/learn": PURE,
    "agent/package": PURE,
    "agent/stream": PURE,
    "agent/telemetry": PURE,
    "agent/store": STORE,
    "agent/update": UPDATE,
    "agent/link": STORE | {"agent/telemetry"},
    "agent/runtime": RUNTIME,
    "agent/app/config": CONFIG,
    "agent/app": APP,
    "hal/linux": BASE | {"hal/api"},
    "hal/sim": BASE | {"hal/api"},
    "tools": TOOLS,
    "tests": APP | {"agent/app", "tools", "tests"},
}
# Headers of hal/linux that touch a device; a desk has none of these.
DEVICE_PARTS = re.compile(r"hal/linux/.*(watchdog|iio|gpio|thermal)")

# What names a library -> where it may be included (a prefix of the path).
LIBRARIES = [
    ("Paho", re.compile(r"mqtt/|MQTT(Client|Async|Properties|ReasonCodes)"), ("agent/link/", "tests/integration/link/")),
    ("OpenSSL", re.compile(r"openssl/"), ("agent/link/", "tools/fleet/certificates.cc", "tests/integration/link/")),
    ("mbedTLS", re.compile(r"(mbedtls|psa)/"), ("agent/package/crypto", "agent/base/sha256.cc", "tests/")),
    ("zstd", re.compile(r"zstd"), ("agent/package/", "tests/")),
    ("Eigen", re.compile(r"Eigen/"), ("agent/learn/", "tests/")),
    ("toml++", re.compile(r"toml\+\+/|toml\.hpp"), ("agent/app/config/", "tools/")),
    ("libiio", re.compile(r"iio\.h$"), ("hal/linux/iio_source.cc",)),
    ("nlohmann-json", re.compile(r"nlohmann/"), ("agent/stream/", "tools/", "tests/")),
    ("CLI11", re.compile(r"CLI/"), ("tools/cli/",)),
    ("p11-kit", re.compile(r"p11-kit/"), ("tools/cli/token_session.h",)),
    ("fmt", re.compile(r"fmt/"), ("tools/", "tests/")),
    ("GoogleTest", re.compile(r"g(test|mock)/"), ("tests/",)),
    ("Google Benchmark", re.compile(r"benchmark/"), ("tests/",)),
    ("MPFR", re.compile(r"mpfr|gmp"), ("tests/",)),
    ("the operating system", re.compile(r"(sys|linux|netinet|arpa|net)/|(unistd|fcntl|poll|signal|netdb|pthread|getopt|dlfcn)\.h$"),
     ("hal/linux/", "agent/app/", "agent/link/", "agent/base/base.cc", "tools/", "tests/")),
    ("<random>", re.compile(r"random$"), ("tests/",)),
    ("<iostream>", re.compile(r"iostream$"), ("tools/", "tests/")),
]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def is_generated(header):
    """Headers that the build makes: from a schema by flatc, or from a template beside them by CMake."""
    return bool(re.fullmatch(r"agent/schema/\w+_generated\.h", header)) or (source_tree.ROOT / (header + ".in")).exists()


def room_of(path):
    parts = path.split("/")
    if "/".join(parts[:3]) in MAY_INCLUDE:
        return "/".join(parts[:3])
    return parts[0] if parts[0] in ("tools", "tests", "firmware") else "/".join(parts[:2])


def violations(path, text, known_files):
    """Says what is wrong with the includes of one file, as a list of sentences."""
    found = []
    room = room_of(path)
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        mark, target = match.groups()
        where = f"{path}:{number}: "
        if mark == '"':
            target_room = room_of(target)
            if target_room not in MAY_INCLUDE:
                found.append(where + f'"{target}" is not written from the repository root')
            elif target not in known_files and not is_generated(target):
                found.append(where + f'"{target}" is not there')
            elif target_room != room and target_room not in MAY_INCLUDE.get(room, set()):
                found.append(where + f"{room} must not include {target_room}")
            elif room == "tools" and DEVICE_PARTS.match(target):
                found.append(where + f"tools must not include a device part, {target}")
        else:
            for library, pattern, places in LIBRARIES:
                if pattern.match(target) and not path.startswith(places):
                    found.append(where + f"{library} is known only in {', '.join(places)}")
            if target.split("/")[0] in ("agent", "hal", "tools", "tests"):
                found.append(where + f"<{target}> is ours: write it in quotes")
    return found


class IncludeRule(unittest.TestCase):
    def test_the_tree_keeps_the_rule(self):
        paths = list(source_tree.files(suffixes=source_tree.CPP))
        known = set(paths)
        self.assertGreater(len(paths), 20, "hardly any C++ file found: is this the source tree?")
        found = [v for path in paths for v in violations(path, source_tree.text(path), known)]
        self.assertEqual([], found, "\n" + "\n".join(found))

    def test_planted_violations_are_found(self):
        known = {"agent/base/status.h", "agent/link/x.h", "agent/store/x.h", "agent/learn/x.h", "agent/app/x.h", "hal/api/x.h",
                 "hal/linux/x.h", "hal/linux/watchdog.h", "hal/sim/x.h", "agent/runtime/x.h", "tools/lab/x.h"}
        planted = [
            ("agent/base/a.h", '#include "hal/api/x.h"', "agent/base must not include hal/api"),
            ("agent/learn/a.cc", '#include "hal/api/x.h"', "agent/learn must not include hal/api"),
            ("agent/store/a.cc", '#include "agent/learn/x.h"', "agent/store must not include agent/learn"),
            ("agent/runtime/a.cc", '#include "agent/link/x.h"', "agent/runtime must not include agent/link"),
            ("agent/runtime/a.cc", '#include "hal/linux/x.h"', "agent/runtime must not include hal/linux"),
            ("hal/linux/a.cc", '#include "hal/sim/x.h"', "hal/linux must not include hal/sim"),
            ("hal/sim/a.cc", '#include "hal/linux/x.h"', "hal/sim must not include hal/linux"),
            ("hal/sim/a.cc", '#include "agent/store/x.h"', "hal/sim must not include agent/store"),
            ("tools/cli/a.cc", '#include "agent/app/x.h"', "tools must not include agent/app"),
            ("tools/cli/a.cc", '#include "hal/linux/watchdog.h"', "device part"),
            ("agent/app/a.cc", '#include "tools/lab/x.h"', "agent/app must not include tools"),
            ("agent/app/config/a.cc", '#include "agent/app/x.h"', "agent/app/config must not include agent/app"),
            ("agent/app/a.cc", "#include <toml++/toml.h>", "toml++ is known only in"),
            ("agent/store/a.cc", '#include "x.h"', "not written from the repository root"),
            ("agent/store/a.cc", '#include "../learn/x.h"', "not written from the repository root"),
            ("agent/store/a.cc", '#include "agent/store/gone.h"', "is not there"),
            ("agent/store/a.cc", "#include <agent/store/x.h>", "write it in quotes"),
            ("agent/telemetry/a.cc", "#include <mqtt/async_client.h>", "Paho is known only in"),
            ("agent/update/a.cc", "#include <mbedtls/ecdsa.h>", "mbedTLS is known only in"),
            ("agent/base/crc.cc", "#include <mbedtls/sha256.h>", "mbedTLS is known only in"),
            ("agent/store/a.cc", "#include <Eigen/Core>", "Eigen is known only in"),
            ("agent/runtime/a.cc", "#include <toml++/toml.h>", "toml++ is known only in"),
            ("agent/runtime/a.cc", "#  include <unistd.h>", "the operating system is known only in"),
            ("agent/learn/a.cc", "#include <random>", "<random> is known only in"),
            ("agent/store/a.cc", "#include <gtest/gtest.h>", "GoogleTest is known only in"),
        ]
        for path, line, expected in planted:
            with self.subTest(path=path, line=line):
                found = violations(path, "// A file.\n" + line + "\n", known)
                self.assertEqual(1, len(found), found)
                self.assertIn(expected, found[0])

    def test_what_is_allowed_passes(self):
        known = {"agent/base/status.h", "agent/store/x.h", "hal/linux/partition.h", "agent/runtime/x.h"}
        for path, line in [
            ("agent/store/a.cc", '#include "agent/base/status.h"'),
            ("agent/store/a.cc", '#include "agent/store/x.h"'),
            ("agent/learn/a.cc", '#include "agent/schema/spec_generated.h"'),
            ("agent/learn/a.cc", "#include <Eigen/Core>"),
            ("agent/base/sha256.cc", "#include <mbedtls/sha256.h>"),
            ("tools/cli/a.cc", '#include "hal/linux/partition.h"'),
            ("agent/app/a.cc", '#include "agent/runtime/x.h"'),
            ("agent/store/a.cc", "// #include <mqtt/async_client.h>"),
        ]:
            with self.subTest(path=path, line=line):
                self.assertEqual([], violations(path, line + "\n", known))


if __name__ == "__main__":
    unittest.main()
