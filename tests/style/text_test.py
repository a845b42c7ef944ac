"""Holds the style rules that a text search can hold: opening comments, lengths, forbidden words, whitespace; and that
the data and licence files which the project promises are there and whole. Long functions are warnings, not failures.
"""
import hashlib
import re
import sys
import unittest

import source_tree

HEADER_LINES = 200
FILE_LINES = 500
FUNCTION_LINES = 70
LINE_COLUMNS = 160
TEXT = (".h", ".cc", ".py", ".fbs", ".cmake", ".txt", ".json", ".md", ".sh")
SCRIPTS = ("tools/setup", "tools/test", "tools/demo", "tools/soak", "tools/sbom", ".ci/run")
TOP = ("CMakeLists.txt", "CMakePresets.json", "README.md", "CHANGELOG.md", ".clang-format", ".clang-tidy")

# What must not stand where, and why: (which files, pattern, reason).
LEARN = re.compile(r"agent/learn/.*\.(h|cc)$")
DEVICE = re.compile(r"(agent|hal)/.*\.(h|cc)$")
HEADER = re.compile(r".*\.h$")
FORBIDDEN = [
    (HEADER, re.compile(r"\busing\s+namespace\b"), "no `using namespace` in a header"),
    (LEARN, re.compile(r"std::(shuffle|hash|random_device|mt19937|\w+_distribution)\b"), "not the same on every machine"),
    (LEARN, re.compile(r"\bstd::(exp|exp2|expm1|log|log2|log10|log1p|tanh|erf|erfc|pow|sin|cos|tan|hypot|cbrt|fma|tgamma|lgamma)\s*\("),
     "libm differs between machines: use agent/learn/math"),
    (LEARN, re.compile(r"(?<![\w.:>])(exp|log|log1p|tanh|erf|pow|sin|cos|fma)f?\("), "libm differs between machines: use agent/learn/math"),
    (DEVICE, re.compile(r"\b(std::)?(stod|stof|strtod|strtof|atof|atoi|strtol|sscanf)\s*\("), "depends on the locale: use agent/base/number.h"),
    (re.compile(r".*(CMakeLists\.txt|\.cmake|CMakePresets\.json)$"), re.compile(r"-ffast-math|-Ofast|-funsafe-math"), "breaks bit identity"),
    (re.compile(r".*"), re.compile(r"deb\.debian\.org|registry\.npmjs|pypi\.org"), "name no package registry: the machine's own sources decide"),
    (re.compile(r".*\.(h|cc|py|sh|txt|cmake|fbs)$"), re.compile(r"(?<![\w.~])/(home|root|work)/\w"), "a path of one machine"),
]
PROMISED = {
    "tests/data/suthaharan/single_hop.csv": "d9e373a2b95eb5ed9eacd242ab4f0f4ef86c98bb1d766750eb0d6e60290ecf17",
    "tests/data/suthaharan/README.md": None,
    "tests/data/suthaharan/licenses/ODC-By-1.0.txt": None,
    "tests/data/suthaharan/licenses/CC-BY-4.0.txt": None,
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
}


def without_comments(line):
    return re.sub(r"//.*$", "", line)


def problems(path, text):
    """Says what is wrong with one file's text, as a list of sentences."""
    found = []
    lines = text.split("\n")
    if text and not text.endswith("\n"):
        found.append(f"{path}: no line end at the end")
    if path.endswith(source_tree.CPP) and not lines[0].startswith("// "):
        found.append(f"{path}:1: a file opens with a comment that says what it is")
    if path.endswith(".h") and "#pragma once" not in lines:
        found.append(f"{path}: no #pragma once")
    count = len(lines) - 1
    limit = HEADER_LINES if path.endswith(".h") else FILE_LINES
    if not path.endswith((".md", ".txt", ".json")) and count >= limit:
        found.append(f"{path}: {count} lines, the limit is {limit - 1}: split it")
    this_file = path == "tests/style/text_test.py"
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}: "
        if "\t" in line:
            found.append(where + "a tab")
        if line.rstrip() != line:
            found.append(where + "blanks at the end of the line" if "\r" not in line else where + "a carriage return")
        # clang-format keeps the columns of C++.
        if len(line) > LINE_COLUMNS and not path.endswith(source_tree.CPP + (".md", ".txt")):
            found.append(where + f"{len(line)} columns, the limit is {LINE_COLUMNS}")
        code = without_comments(line) if path.endswith(source_tree.CPP) else line
        for files, pattern, why in FORBIDDEN:
            if not this_file and files.match(path) and pattern.search(code):
                found.append(where + f"`{pattern.search(code).group(0)}`: {why}")
    return found


def long_functions(path, text):
    """Functions that begin and end in the first column, as all of ours outside classes do."""
    start = None
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("}") and start:
            if number - start > FUNCTION_LINES:
                yield f"{path}:{start}: a function of {number - start} lines, more than {FUNCTION_LINES}"
            start = None
        elif re.match(r"[A-Za-z].*[^;{]*\{$", line) and not re.match(r"(namespace|class|struct|enum|union|extern|constexpr\s.*=)", line):
            start = number


def checked_files():
    yield from source_tree.files(suffixes=TEXT)
    for path in SCRIPTS + TOP:
        if (source_tree.ROOT / path).exists():
            yield path


class Text(unittest.TestCase):
    def test_the_tree_keeps_the_rules(self):
        paths = list(checked_files())
        self.assertGreater(len(paths), 40, "hardly any file found: is this the source tree?")
        found = [p for path in paths for p in problems(path, source_tree.text(path))]
        for path in paths:
            if path.endswith(".cc"):
                for warning in long_functions(path, source_tree.text(path)):
                    print("warning:", warning, file=sys.stderr)
        self.assertEqual([], found, "\n" + "\n".join(found))

    def test_planted_problems_are_found(self):
        body = "// A file.\n"
        planted = [
            ("agent/learn/a.h", body + "#pragma once\nusing namespace std;\n", "using namespace"),
            ("agent/learn/a.h", body + "int a;\n", "#pragma once"),
            ("agent/learn/a.h", body + "#pragma once\n" + "int a;\n" * HEADER_LINES, "split it"),
            ("agent/learn/a.cc", "int a;\n", "opens with a comment"),
            ("agent/learn/a.cc", body + "std::shuffle(a, b, c);\n", "not the same on every machine"),
            ("agent/learn/a.cc", body + "double y = std::exp(x);\n", "libm"),
            ("agent/learn/a.cc", body + "double y = log(x);\n", "libm"),
            ("agent/stream/a.cc", body + "double y = std::strtod(x, 0);\n", "locale"),
            ("agent/store/a.cc", body + "int a; \n", "blanks"),
            ("agent/store/a.cc", body + "\tint a;\n", "a tab"),
            ("agent/store/a.cc", body + "int a;\r\n", "carriage return"),
            ("agent/store/a.cc", body + "int a;", "no line end"),
            ("agent/store/a.cc", body + "int a;\n" * FILE_LINES, "split it"),
            ("tools/a.py", "#" + "x" * LINE_COLUMNS + "\n", "columns"),
            ("agent/CMakeLists.txt", "set(X -ffast" + "-math)\n", "bit identity"),
        ]
        for path, text, expected in planted:
            with self.subTest(path=path, expected=expected):
                found = problems(path, text)
                self.assertEqual(1, len(found), found)
                self.assertIn(expected, found[0])
        self.assertEqual([], problems("agent/learn/a.cc", body + "double y = math::Exp(x);  // not exp(x)\n"))
        long = body + "int F() {\n" + "  a();\n" * FUNCTION_LINES + "}\n"
        self.assertEqual(1, len(list(long_functions("a.cc", long))))

    def test_promised_files_are_whole(self):
        for path, digest in PROMISED.items():
            with self.subTest(path=path):
                data = (source_tree.ROOT / path).read_bytes()
                self.assertTrue(data)
                if digest:
                    self.assertEqual(digest, hashlib.sha256(data).hexdigest(), path + " is not the promised file")


if __name__ == "__main__":
    unittest.main()
