"""NVM3, the object store in the flash of 700 and 800 series chips (Silicon Labs, "NVM3 driver"): pages of keyed objects. PURE.

Each header carries a Berger code, the number of its zero bits. Of several objects with one key the last counts.
"""

import struct
from collections.abc import Iterator, Mapping

PAGE = 8192  # bytes
MAGIC, VERSION = 0xB29A, 1
PAGE_HEADER = 20
SMALLEST_PAGE = 512
DEVICE_FAMILY = 2047
LARGE, SMALL = 0, 7  # object types; the type of a small one has its length added
MOST_SMALL, MOST_LARGE = 120, 1900  # bytes of an object
WORD = 4
ERASED = 0xFFFFFFFF
WHOLE, FIRST, NEXT, LAST = range(4)  # fragments

_COUNTER_BITS, _SMALL_BITS, _LENGTH_BITS = 27, 27, 26
_TYPE, _KEY, _FRAGMENT = 0x7F, 0xFFFFF, 3
_KEY_AT, _FRAGMENT_AT = 7, 27


class StoreError(ValueError):
    """Bytes that are no NVM3 store, or objects that do not fit one."""


def berger(word: int, bits: int) -> int:
    """The number of zeros among the low `bits`."""
    return bits - (word & (1 << bits) - 1).bit_count()


def encode(objects: Mapping[int, bytes], size: int) -> bytes:
    """A store of `size` bytes. Raises StoreError where it is too small."""
    pages: list[bytes] = []
    current = _page_header(1)
    for key, data in objects.items():
        for piece in _pieces(key, data):
            if len(current) + len(piece) > PAGE:
                pages.append(current)
                current = _page_header(1)
            current += piece
    pages.append(current)
    if len(pages) * PAGE > size:
        raise StoreError(f"the objects do not fit {size} bytes")
    pages += [_page_header(0)] * (size // PAGE - len(pages))
    return b"".join(page.ljust(PAGE, b"\xff") for page in pages)


def _page_header(erased: int) -> bytes:
    mask = (1 << _COUNTER_BITS) - 1
    counters = [value | berger(value, _COUNTER_BITS) << _COUNTER_BITS for value in (erased, ~erased & mask)]
    bits = (PAGE // SMALLEST_PAGE).bit_length() - 1
    info = DEVICE_FAMILY | 1 << 12 | bits << 13  # memory mapped, written in words
    return struct.pack("<HHIIIHH", VERSION, MAGIC, *counters, ERASED, info, 0xFFFF)


def _pieces(key: int, data: bytes) -> Iterator[bytes]:
    if len(data) <= MOST_SMALL:
        head = SMALL + len(data) | key << _KEY_AT
        yield _aligned(struct.pack("<I", head | berger(head, _SMALL_BITS) << _SMALL_BITS) + data)
        return
    count = -(-len(data) // MOST_LARGE)
    for number in range(count):
        piece = data[number * MOST_LARGE : (number + 1) * MOST_LARGE]
        fragment = WHOLE if count == 1 else FIRST if number == 0 else LAST if number == count - 1 else NEXT
        first = LARGE | key << _KEY_AT | fragment << _FRAGMENT_AT
        code = berger(first, 32) + berger(len(piece), _LENGTH_BITS)
        yield _aligned(struct.pack("<II", first, len(piece) | code << _LENGTH_BITS) + piece)


def _aligned(data: bytes) -> bytes:
    return data + b"\xff" * (-len(data) % WORD)


def decode(image: bytes) -> dict[int, bytes]:
    """The objects of a store. Raises StoreError."""
    objects: dict[int, bytes] = {}
    for start in range(0, len(image), PAGE):
        page = image[start : start + PAGE]
        if len(page) < PAGE or struct.unpack_from("<HH", page) != (VERSION, MAGIC):
            raise StoreError("no page of a store")
        _read_page(page, objects)
    return objects


def _read_page(page: bytes, objects: dict[int, bytes]) -> None:
    at = PAGE_HEADER
    while at + WORD <= PAGE:
        (head,) = struct.unpack_from("<I", page, at)
        if head == ERASED:
            return
        kind, key = head & _TYPE, head >> _KEY_AT & _KEY
        if kind >= SMALL:
            size, at = kind - SMALL, at + WORD
            fragment, right = WHOLE, head >> _SMALL_BITS == berger(head, _SMALL_BITS)
        elif kind == LARGE and at + 2 * WORD <= PAGE:
            (length,) = struct.unpack_from("<I", page, at + WORD)
            size, at = length & (1 << _LENGTH_BITS) - 1, at + 2 * WORD
            fragment = head >> _FRAGMENT_AT & _FRAGMENT
            code = (berger(head, 32) + berger(size, _LENGTH_BITS)) & 0x3F
            right = length >> _LENGTH_BITS == code
        else:
            raise StoreError(f"an object of type {kind}")
        if not right or at + size > PAGE:
            raise StoreError("the header of an object is damaged")
        data = page[at : at + size]
        objects[key] = objects.get(key, b"") + data if fragment in (NEXT, LAST) else data
        at += size + -size % WORD
