"""A wall clock that a test sets: wall_shim.c, preloaded, reads it from a file."""
import mmap
import struct

SECOND = 10**9
DAY = 86400 * SECOND
YEAR = 365 * DAY


class Wall:
    """The clock of whoever runs with its environment; `offset` from the real one in ns."""

    def __init__(self, shim, path, offset=0, settable=True):
        path.write_bytes(struct.pack("<qq", offset, settable))
        self.environment = {"LD_PRELOAD": str(shim), "DIPPER_TEST_WALL_FILE": str(path), "ASAN_OPTIONS": "verify_asan_link_order=0"}
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 16)

    @property
    def offset(self):
        return struct.unpack("<q", self.page[:8])[0]

    @offset.setter
    def offset(self, value):
        self.page[:8] = struct.pack("<q", value)
