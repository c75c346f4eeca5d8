"""What a memory image of a stick holds: its home id, its own node id, and the nodes that it knows. PURE.

700 and 800 series: NVM3, a store of keyed objects in pages of flash (Silicon Labs, "NVM3 driver"; AN1135). Of several objects with one key
the youngest counts, so that pages are read in the order in which they were written. 500 series: modules at fixed places, the first of which
is the library's (SDK 6.6 to 6.8). Both were compared with what @zwave-js/nvmedit reads and writes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

NODES = 232
FIRST_LONG_RANGE = 256


class NvmError(ValueError):
    """The image is damaged: it is not what a stick keeps."""


class UnknownLayoutError(NvmError):
    """Nothing shows that the image is damaged; it is of a kind that is not known here."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The network in an image. `nodes` hold the stick's own id too, long range ones included; `kind` is 500, 700 or 800."""

    home_id: int
    node: int
    nodes: tuple[int, ...]
    kind: int


def parse(image: bytes) -> Memory:
    """Raises NvmError, UnknownLayoutError."""
    if len(image) >= _HEADER.size and image[:4] == _FIRST_WORD:
        return _stored(image)
    return _tabled(image)


def _mask(data: bytes, first: int) -> Iterator[int]:
    for at, byte in enumerate(data):
        yield from (first + at * 8 + bit for bit in range(8) if byte & 1 << bit)


# ---- NVM3 -----------------------------------------------------------------------------------------------------------------------

_HEADER = struct.Struct("<HHIIIHH")  # version, magic, erase count, its inverse, status, device, format
_FIRST_WORD = struct.pack("<HH", 1, 0xB29A)
_COUNT_BITS = 27
_COUNT = (1 << _COUNT_BITS) - 1
_SMALLEST_PAGE, _LARGEST_PAGE = 512, 0xFFFF
_BLANK = 0xFFFFFFFF
_WORD = 4
_DATA_LARGE, _COUNTER_LARGE, _COUNTER_SMALL, _DELETED, _DATA_SMALL = 0, 1, 2, 3, 7
_COUNTER_SIZE = 204
_WHOLE, _FIRST, _NEXT, _LAST = range(4)
_LENGTH_BITS = 26

_SHARED_VERSION = 0x41000  # of the application on an 800: it has one store, a 700 two
_APPLICATION_SIZE = 12_288  # bytes of the first store of a 700
_CONTROLLER, _NODE_LIST, _LONG_RANGE_LIST = 0x50004, 0x50005, 0x5000C
_CONTROLLER_SIZES = {13: 1, 22: 2}  # size of the file -> bytes of a node id
_NODE_BYTES = 29


@dataclass(frozen=True, slots=True)
class _Piece:
    """An object, or a part of one; `data` None: the object is deleted."""

    key: int
    fragment: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class _Page:
    offset: int
    erased: int
    pieces: tuple[_Piece, ...]


def _berger(word: int, bits: int) -> int:
    return bits - (word & (1 << bits) - 1).bit_count()


def _stored(image: bytes) -> Memory:
    pages = list(_pages(image))
    shared = any(piece.key == _SHARED_VERSION for page in pages for piece in page.pieces)
    files = _files(pages if shared else [page for page in pages if page.offset >= _APPLICATION_SIZE])
    try:
        controller, listed = files[_CONTROLLER], files[_NODE_LIST]
    except KeyError as error:
        raise NvmError(f"the store lacks the file {error.args[0]:#x}") from None
    width = _CONTROLLER_SIZES.get(len(controller))
    if width is None:
        raise UnknownLayoutError(f"a controller file of {len(controller)} bytes")
    own = int.from_bytes(controller[4 : 4 + width], "little")
    nodes = (*_mask(listed[:_NODE_BYTES], 1), *_mask(files.get(_LONG_RANGE_LIST, b""), FIRST_LONG_RANGE))
    return _checked(int.from_bytes(controller[:4], "big"), own, nodes, 800 if shared else 700)


def _checked(home_id: int, own: int, nodes: tuple[int, ...], kind: int) -> Memory:
    if own not in nodes:
        raise NvmError(f"the stick's own id {own} is not in its node list")
    return Memory(home_id, own, nodes, kind)


def _pages(image: bytes) -> Iterator[_Page]:
    offset = 0
    while offset < len(image):
        erased, size = _page_header(image, offset)
        if offset + size > len(image):
            raise NvmError(f"the page at {offset:#x} is cut off")
        yield _Page(offset, erased, tuple(_pieces(image[offset : offset + size])))
        offset += size


def _page_header(image: bytes, offset: int) -> tuple[int, int]:
    if len(image) < offset + _HEADER.size:
        raise NvmError(f"the image ends within the page at {offset:#x}")
    version, magic, count, inverse, _status, device, _form = _HEADER.unpack_from(image, offset)
    if (version, magic) != struct.unpack("<HH", _FIRST_WORD):
        raise NvmError(f"no page of a store at {offset:#x}")
    erased = count & _COUNT
    right = count >> _COUNT_BITS == _berger(count, _COUNT_BITS) and inverse >> _COUNT_BITS == _berger(
        inverse, _COUNT_BITS
    )
    if not right or inverse & _COUNT != ~count & _COUNT:
        raise NvmError(f"the counter of the page at {offset:#x} is damaged")
    size = _SMALLEST_PAGE << (device >> 13)
    if size > _LARGEST_PAGE:  # some firmware leaves these bits set: the next header shows where the page ends
        sizes = (_SMALLEST_PAGE << bits for bits in range(7))
        ends = (one for one in sizes if image[offset + one : offset + one + 4] in (_FIRST_WORD, b""))
        size = next(ends, _LARGEST_PAGE)
    return erased, size


def _pieces(page: bytes) -> Iterator[_Piece]:
    at = _HEADER.size
    while at + _WORD <= len(page):
        (head,) = struct.unpack_from("<I", page, at)
        if head == _BLANK:
            return
        kind, key = head & 0x7F, head >> 7 & 0xFFFFF
        fragment, large = _WHOLE, kind in (_DATA_LARGE, _COUNTER_LARGE)
        if large:
            if at + 2 * _WORD > len(page):
                raise NvmError("the last object of a page is cut off")
            (length,) = struct.unpack_from("<I", page, at + _WORD)
            size, fragment = length & (1 << _LENGTH_BITS) - 1, head >> 27 & 3
            right = length >> _LENGTH_BITS == (_berger(head, 32) + _berger(length, _LENGTH_BITS)) & 0x3F
        else:
            size = max(0, kind - _DATA_SMALL) if kind >= _DATA_SMALL else _COUNTER_SIZE * (kind == _COUNTER_SMALL)
            right = head >> 27 == _berger(head, 27)
        at += 2 * _WORD if large else _WORD
        if not right or at + size > len(page):
            raise NvmError(f"the object {key:#x} is damaged")
        if kind not in (_COUNTER_LARGE, _COUNTER_SMALL):
            yield _Piece(key, fragment, None if kind == _DELETED else page[at : at + size])
        at += size + -size % _WORD


def _files(pages: list[_Page]) -> dict[int, bytes]:
    """Objects by key: pages are used round and round, and the page that was written last has been erased as often as any."""
    most = max((page.erased for page in pages), default=0)
    last = max((at for at, page in enumerate(pages) if page.erased == most and page.pieces), default=-1)
    if last < 0:
        last = max((at for at, page in enumerate(pages) if page.pieces), default=-1)
    files: dict[int, bytes] = {}
    parts: dict[int, bytes] = {}
    for page in pages[last + 1 :] + pages[: last + 1]:
        for piece in page.pieces:
            if piece.data is None:
                files.pop(piece.key, None)
            elif piece.fragment == _WHOLE:
                files[piece.key] = piece.data
            elif piece.fragment == _FIRST:
                parts[piece.key] = piece.data
            elif piece.key in parts:  # else its beginning is gone, as of an object that was written anew
                parts[piece.key] += piece.data
                if piece.fragment == _LAST:
                    files[piece.key] = parts.pop(piece.key)
    return files


# ---- 500 series -----------------------------------------------------------------------------------------------------------------

_HOME_ID, _LEARNED_HOME_ID, _NODE, _VALID = 8, 16, 20, 21
_VALID_MARK = bytes((84, 165))
_TABLE = 248  # the node table: 5 bytes a node, all of them zero where there is none
_ENTRY = 5
_LIBRARY, _LIBRARY_KIND = 2, 2  # place of the first module, and its kind
_DESCRIPTOR = 5  # bytes at the end of a module: its size again, its kind, its version
_CONFIGURATIONS = {  # size of the library module -> place of the controller's configuration
    12_223: 9867, 12_239: 9867, 12_240: 9867,  # static controllers, SDK 6.6, 6.7, 6.8
    12_252: 9896, 12_268: 9896, 12_269: 9896,  # bridge controllers: one more node mask before it
}  # fmt: skip
_ON_OTHER_NETWORK, _NEVER_WRITTEN = 0x02, 0xFF


def _tabled(image: bytes) -> Memory:
    size = int.from_bytes(image[_LIBRARY : _LIBRARY + 2], "big")
    descriptor = image[_LIBRARY + size - _DESCRIPTOR : _LIBRARY + size]
    if size not in _CONFIGURATIONS or len(descriptor) < _DESCRIPTOR:
        raise UnknownLayoutError("neither a store of a 700 or 800 nor the memory of a 500 with SDK 6.6 to 6.8")
    if descriptor[:3] != size.to_bytes(2, "big") + bytes((_LIBRARY_KIND,)):
        raise NvmError("the library's module does not end where it should")
    if image[_VALID : _VALID + 2] != _VALID_MARK:
        raise NvmError("the stick's own configuration is not marked as valid")
    entries = (image[_TABLE + at * _ENTRY : _TABLE + (at + 1) * _ENTRY] for at in range(NODES))
    nodes = tuple(number for number, entry in enumerate(entries, 1) if any(entry))
    learned = int.from_bytes(image[_LEARNED_HOME_ID : _LEARNED_HOME_ID + 4], "big")
    configuration = image[_CONFIGURATIONS[size]]
    if configuration & _ON_OTHER_NETWORK and configuration != _NEVER_WRITTEN and learned:  # a secondary controller
        return _checked(learned, image[_NODE], nodes, 500)
    # A primary need not have written its own id: it is 1 by rule.
    own = image[_NODE] if image[_NODE] in nodes else 1
    return _checked(int.from_bytes(image[_HOME_ID : _HOME_ID + 4], "big"), own, nodes, 500)
