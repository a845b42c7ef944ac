"""Reads a FlatBuffer byte by byte with the project's schema files, and says of each byte what it is."""
import re
import struct

SCALARS = {"bool": "<B", "ubyte": "<B", "byte": "<b", "ushort": "<H", "short": "<h", "uint": "<I", "int": "<i",
           "ulong": "<Q", "long": "<q", "float": "<f", "double": "<d"}
BLOCK = re.compile(r"\b(table|struct|enum|union)\s+(\w+)\s*(?::\s*(\w+))?\s*\{([^}]*)\}")
FIELD = re.compile(r"(\w+)\s*:\s*(\[\s*\w+(?:\s*:\s*\d+)?\s*\]|\w+)[^;]*;")


class Schema:
    def __init__(self, text):
        self.tables, self.structs, self.enums, self.unions = {}, {}, {}, {}
        for kind, name, base, body in BLOCK.findall(re.sub(r"//[^\n]*", "", text)):
            if kind == "enum":
                pairs = re.findall(r"(\w+)(?:\s*=\s*(\d+))?", body)
                values, following = {}, 0
                for word, value in pairs:
                    following = int(value) if value else following
                    values[following] = word
                    following += 1
                self.enums[name] = (base, values)
            elif kind == "union":
                self.unions[name] = re.findall(r"\w+", body)
            else:
                fields = [(field, kind_of.replace(" ", "")) for field, kind_of in FIELD.findall(body)]
                (self.tables if kind == "table" else self.structs)[name] = fields

    def slots(self, table):
        """Fields by slot: a union takes two, its type first."""
        for name, kind in self.tables[table]:
            if kind in self.unions:
                yield name + "_type", "ubyte"
            yield name, kind

    def layout(self, kind):
        """(size, alignment) of what stands inline."""
        if kind in SCALARS:
            size = struct.calcsize(SCALARS[kind])
            return size, size
        if kind in self.enums:
            return self.layout(self.enums[kind][0])
        fixed = re.match(r"\[(\w+):(\d+)\]", kind)
        if fixed:
            size, alignment = self.layout(fixed.group(1))
            return size * int(fixed.group(2)), alignment
        if kind in self.structs:
            at, largest = 0, 1
            for _, inner in self.structs[kind]:
                size, alignment = self.layout(inner)
                at, largest = -(-at // alignment) * alignment + size, max(largest, alignment)
            return -(-at // largest) * largest, largest
        return 4, 4  # an offset


class Reader:
    """Fills `pieces` with (position, length, field, value); `place` is added to each position that is named."""

    def __init__(self, schema, data, place, nested):
        self.schema, self.data, self.place, self.nested = schema, data, place, nested
        self.pieces, self.vtables = [], set()

    def read(self, root):
        target = self._u32(0)
        self._say(0, 4, "root", f"at {self.place + target}: table {root}")
        self._say(4, 4, "identifier", f'"{self.data[4:8].decode()}"')
        self._table(target, root, root)
        self._padding()
        return sorted(self.pieces)

    def _u32(self, at):
        return struct.unpack_from("<I", self.data, at)[0]

    def _say(self, at, length, field, value):
        self.pieces.append((at, length, field, value))

    def _padding(self):
        at = 0
        for begin, length, _, _ in sorted(self.pieces):
            if begin < at:
                raise ValueError(f"bytes {begin} to {at} of the buffer are read twice")
            if begin > at:
                self._gap(at, begin)
            at = begin + length
        if at < len(self.data):
            self._gap(at, len(self.data))

    def _gap(self, begin, end):
        if any(self.data[begin:end]):
            raise ValueError(f"bytes {begin} to {end} of the buffer are not 0 and belong to no field of the schema")
        self._say(begin, end - begin, "padding", "0")

    def _table(self, at, table, path):
        vtable = at - struct.unpack_from("<i", self.data, at)[0]
        bytes_of_vtable, bytes_of_table = struct.unpack_from("<HH", self.data, vtable)
        self._say(at, 4, path, f"table of {bytes_of_table} bytes; vtable at {self.place + vtable}")
        places = struct.unpack_from(f"<{bytes_of_vtable // 2 - 2}H", self.data, vtable + 4)
        slots = list(self.schema.slots(table))
        if vtable not in self.vtables:
            self.vtables.add(vtable)
            self._say(vtable, 4, f"vtable of {table}", f"{bytes_of_vtable} bytes; table {bytes_of_table} bytes")
            for slot, position in enumerate(places):
                name = slots[slot][0] if slot < len(slots) else "a newer field"
                self._say(vtable + 4 + 2 * slot, 2, f"slot {slot}, {name}",
                          f"at {self.place + at + position}" if position else "absent: default")
        union = ""
        for (name, kind), position in zip(slots, places):
            if not position:
                continue
            where = f"{path}.{name}" if path != "Manifest" else name
            if name.endswith("_type") and kind == "ubyte":
                owner = dict(self.schema.tables[table]).get(name[:-5])
                union = self.schema.unions[owner][self.data[at + position] - 1]
                self._say(at + position, 1, where, f"{self.data[at + position]}: {union}")
            else:
                self._field(at + position, kind, where, union)

    def _field(self, at, kind, path, union=""):
        if kind in self.schema.unions:
            self._follow(at, union, path)
        elif kind in self.schema.tables or kind == "string" or re.match(r"\[\w+\]", kind):
            self._follow(at, kind, path)
        elif kind in self.schema.structs and len(self.schema.structs[kind]) > 1:
            begin = at
            for name, inner in self.schema.structs[kind]:
                size, alignment = self.schema.layout(inner)
                at = begin + -(-(at - begin) // alignment) * alignment
                self._field(at, inner, f"{path}.{name}")
                at += size
        else:
            self._say(at, self.schema.layout(kind)[0], path, self._value(at, kind))

    def _value(self, at, kind):
        if kind in self.schema.enums:
            base, values = self.schema.enums[kind]
            number = struct.unpack_from(SCALARS[base], self.data, at)[0]
            return f"{number}: {values.get(number, 'unknown')}"
        if kind in SCALARS:
            number = struct.unpack_from(SCALARS[kind], self.data, at)[0]
            return "missing" if number != number else f"{number:.9g}" if kind in ("float", "double") else str(number)
        return f"{self.schema.layout(kind)[0]} bytes"

    def _follow(self, at, kind, path):
        target = at + self._u32(at)
        self._say(at, 4, path, f"at {self.place + target}")
        if kind in self.schema.tables:
            self._table(target, kind, path)
            return
        count = self._u32(target)
        if kind == "string":
            text = self.data[target + 4:target + 4 + count].decode()
            self._say(target, 4, path, f"{count} bytes of text")
            self._say(target + 4, count + 1, path, f'"{text}", then 0')
            return
        inner = kind[1:-1]
        if path in self.nested:
            self._say(target, 4, path, f"{count} bytes: a buffer of its own")
            pieces = Reader(self.schema, self.data[target + 4:target + 4 + count], self.place + target + 4, ())
            self.pieces += [(target + 4 + p, *rest) for p, *rest in pieces.read(self.nested[path])]
            return
        self._say(target, 4, path, f"{count} elements")
        for index in range(count):
            self._field(target + 4 + index * self.schema.layout(inner)[0], inner, f"{path}[{index}]")
