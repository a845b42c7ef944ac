"""Holds that every test which docs/reference/faults-survived.md names is in the tree, and that the tests which are there for a fault are named:
a table of faults is worth nothing when its tests have been renamed or dropped."""
import re
import unittest

import source_tree
from attack_table_test import tests_in_the_tree

PAGE = "docs/reference/faults-survived.md"
# Every test of these files is about a fault.
WHOLE_FILES = ("tests/system/survival/watchdog_test.py", "tests/system/survival/storage_test.py",
               "tests/system/survival/credentials_test.py", "tests/system/qemu/watchdog_test.py", "tests/system/kill/kill_test.py",
               "tests/system/survival/release_refuses_test.py", "tests/system/link/agent_link_test.py",
               "tests/integration/link/half_open_test.cc", "tests/integration/link/link_credentials_test.cc")
TEST = re.compile(r"^(?:    def (test_\w+)\(|TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\))", re.MULTILINE)


def rows(page):
    """Fault and the names in its last column, for each row of every table."""
    lines = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| fault |")]
    return [(cells[1].strip(), re.findall(r"`([^`]+)`", cells[3])) for cells in (line.split("|") for line in lines)]


class FaultTable(unittest.TestCase):
    def test_every_named_test_exists(self):
        table = rows(source_tree.text(PAGE))
        self.assertGreater(len(table), 30, "hardly a row found: did the tables' form change?")
        known = tests_in_the_tree()
        missing = [f"{fault}: {name}" for fault, names in table for name in names if name not in known]
        self.assertEqual([], missing, "named in a table and not in the tree:\n" + "\n".join(missing))
        self.assertEqual([], [fault for fault, names in table if not names], "faults without a test")

    def test_every_fault_test_is_in_a_table(self):
        named = {name for _, names in rows(source_tree.text(PAGE)) for name in names}
        for path in WHOLE_FILES:
            found = {python or f"{suite}.{name}" for python, suite, name in TEST.findall(source_tree.text(path))}
            self.assertTrue(found, path)
            self.assertEqual(set(), found - named, f"tests of {path} that no table names")


if __name__ == "__main__":
    unittest.main()
