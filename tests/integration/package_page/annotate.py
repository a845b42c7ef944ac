"""A package as lines: offset, length, bytes, field and value, for every byte of the file."""
import hashlib
import pathlib
import struct
import time

import flatbuffer

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCHEMAS = ("agent/schema/spec.fbs", "agent/schema/package.fbs")
HEADER_BYTES, SIGNATURE_BYTES, WIDTH = 64, 96, 16
HEADER = [  # offset, struct form, field, what it means
    (8, "H", "format version", ""), (10, "H", "flags", "none set: blocks are not encrypted"),
    (12, "I", "block size", "bytes of image in a block"), (16, "I", "manifest bytes", ""), (20, "I", "blocks", ""),
    (24, "Q", "block area bytes", ""), (32, "Q", "image bytes", "decompressed"),
    (40, "Q", "reserved", "the signed part ends behind it"), (48, "I", "signature bytes", "one signature"),
    (52, "I", "CRC of the signatures", ""), (56, "I", "reserved", ""), (60, "I", "CRC of bytes 0 to 59", ""),
]
# What a value says to a reader, where the name of the field does not.
MEANING = {
    "created": lambda v: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(v))),
    "feature_schema": lambda v: "SHA-256 over the features",
    "image_sha256": lambda v: "SHA-256 of the image",
    "self_test.image_sha256": lambda v: "SHA-256 of the image after the last step",
    "blocks[0].sha256": lambda v: "SHA-256 of the stored bytes",
    "blocks[0].offset_bytes": lambda v: "from the begin of the block area",
    "Spec.budget_bytes": lambda v: f"{int(v) // 1024} KiB",
}


def parts(data):
    """(header, manifest, signatures, blocks) as the header's sizes say."""
    manifest, signatures = struct.unpack_from("<I", data, 16)[0], struct.unpack_from("<I", data, 48)[0]
    ends = [HEADER_BYTES, HEADER_BYTES + manifest, HEADER_BYTES + manifest + signatures, len(data)]
    return [data[begin:end] for begin, end in zip([0, *ends], ends)]


def digest(data):
    header, manifest, _, _ = parts(data)
    return hashlib.sha256(header[:48] + manifest).hexdigest()


def header_pieces(data):
    yield 0, 8, "magic", f'"{data[:8].decode()}"'
    for at, form, field, meaning in HEADER:
        value = struct.unpack_from("<" + form, data, at)[0]
        text = f"0x{value:08x}" if field.startswith("CRC") else str(value)
        yield at, struct.calcsize(form), field, f"{text}: {meaning}" if meaning else text


def manifest_pieces(manifest):
    schema = flatbuffer.Schema("\n".join((ROOT / path).read_text(encoding="utf-8") for path in SCHEMAS))
    for at, length, field, value in flatbuffer.Reader(schema, manifest, HEADER_BYTES, {"spec": "Spec"}).read("Manifest"):
        if field in MEANING and not value.startswith("at "):
            said = MEANING[field](value)
            value = said if value.endswith(" bytes") else f"{value}: {said}"
        yield at, length, field, value


def signature_pieces(signatures):
    for at in range(0, len(signatures), SIGNATURE_BYTES):
        yield at, 32, "key id", "SHA-256 of the public key"
        yield at + 32, 32, "signature, r", "big-endian"
        yield at + 64, 32, "signature, s", "big-endian"


def block_pieces(stored):
    """The first and only block: a zstd frame with one compressed block (RFC 8878, section 3.1.1)."""
    descriptor = stored[4]
    single, size_flag = descriptor >> 5 & 1, descriptor >> 6
    if stored[:4] != b"\x28\xb5\x2f\xfd" or not single or size_flag != 1 or descriptor & 7:
        raise ValueError("the frame has another form than this page explains: choose another example")
    yield 0, 4, "zstd magic", "0xfd2fb528"
    yield 4, 1, "frame descriptor", "single segment, size in 2 bytes, no checksum, no dictionary"
    yield 5, 2, "frame content size", f"{struct.unpack_from('<H', stored, 5)[0] + 256}: image bytes of the block, less 256"
    head = int.from_bytes(stored[7:10], "little")
    kind = ("raw", "run", "compressed", "reserved")[head >> 1 & 3]
    if not head & 1 or len(stored) != 10 + (head >> 3):
        raise ValueError("the frame has more than one block: choose another example")
    yield 7, 3, "zstd block header", f"last block, {kind}, {head >> 3} bytes"
    yield 10, len(stored) - 10, "zstd block", "the image, compressed"


def section(title, pieces, data, begin):
    lines = [f"-- {title}: {len(data)} bytes from {begin}"]
    for at, length, field, value in pieces:
        for row in range(0, length, WIDTH):
            here = data[at + row:at + min(length, row + WIDTH)]
            text = f"{field} = {value}" if row == 0 else ""
            lines.append(f"{begin + at + row:4} {str(length) if row == 0 else '':>4}  {here.hex(' '):<47}  {text}".rstrip())
    return lines


def lines(data):
    header, manifest, signatures, blocks = parts(data)
    begins = [0, HEADER_BYTES, HEADER_BYTES + len(manifest), HEADER_BYTES + len(manifest) + len(signatures)]
    return (["byte  len  bytes" + " " * 44 + "field = value"]
            + section("header", header_pieces(header), header, begins[0])
            + section("manifest", manifest_pieces(manifest), manifest, begins[1])
            + section("signatures", signature_pieces(signatures), signatures, begins[2])
            + section("block 0", block_pieces(blocks), blocks, begins[3]))


def bytes_of(text_lines):
    """The file that the lines show, read by columns; ValueError where an offset or a length does not fit the bytes."""
    data, left = b"", 0
    for line in text_lines[1:]:
        if line.startswith("-- "):
            continue
        if int(line[:4]) != len(data):
            raise ValueError(f"this line does not go on at byte {len(data)}: {line}")
        if line[5:9].strip():
            if left:
                raise ValueError(f"{left} bytes are missing before this line: {line}")
            left = int(line[5:9])
        here = bytes.fromhex(line[11:58])
        if len(here) != min(left, WIDTH):
            raise ValueError(f"this line has {len(here)} of {left} bytes: {line}")
        data, left = data + here, left - len(here)
    if left:
        raise ValueError(f"{left} bytes are missing at the end")
    return data
