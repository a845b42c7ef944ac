"""Holds that every test which the threat model names is in the tree: a table of attacks is worth nothing when its
tests have been renamed or dropped."""
import re
import unittest

import source_tree

PAGE = "docs/explanation/threat-model.md"
HEADING = "## Attacks and their tests"
TEST = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", re.MULTILINE)
PYTHON_TEST = re.compile(r"^    def (test_\w+)\(", re.MULTILINE)
FUZZ = re.compile(r"^tests/fuzz/(\w+_fuzz)\.cc$")


def tests_in_the_tree():
    """Suite.Name of GoogleTest, test_name of Python, name_fuzz of libFuzzer targets."""
    found = set()
    for path in source_tree.files():
        if not path.startswith("tests/"):
            continue
        match = FUZZ.match(path)
        if match:
            found.add(match.group(1))
        if path.endswith(".cc"):
            found.update(f"{suite}.{name}" for suite, name in TEST.findall(source_tree.text(path)))
        elif path.endswith(".py"):
            found.update(PYTHON_TEST.findall(source_tree.text(path)))
    return found


def rows(page):
    """Attack and the names in its last column, for each row of the table."""
    table = page[page.index(HEADING):]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [(cells[1].strip(), re.findall(r"`([^`]+)`", cells[3])) for cells in (line.split("|") for line in lines[1:])]


class AttackTable(unittest.TestCase):
    def test_every_named_test_exists(self):
        table = rows(source_tree.text(PAGE))
        self.assertGreater(len(table), 20, "hardly a row found: did the table's form change?")
        known = tests_in_the_tree()
        missing = [f"{attack}: {name}" for attack, names in table for name in names if name not in known]
        self.assertEqual([], missing, "named in the table and not in the tree:\n" + "\n".join(missing))
        self.assertEqual([], [attack for attack, names in table if not names], "attacks without a test")

    def test_every_attack_test_is_in_the_table(self):
        named = {name for _, names in rows(source_tree.text(PAGE)) for name in names}
        ours = {name for name in tests_in_the_tree() if re.search(r"\.(attack|drill)_", name)}
        self.assertGreater(len(ours), 10)
        self.assertEqual(set(), ours - named, "attack tests that the table does not name")


if __name__ == "__main__":
    unittest.main()
