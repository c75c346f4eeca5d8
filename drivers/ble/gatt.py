"""A GATT server as its discovery told it: services, characteristics, descriptors. PURE."""

from dataclasses import dataclass

NOTIFY, INDICATE, READ, WRITE, WRITE_COMMAND = "notify", "indicate", "read", "write", "write-without-response"


@dataclass(frozen=True, slots=True)
class Descriptor:
    uuid: str
    handle: int


@dataclass(frozen=True, slots=True)
class Characteristic:
    uuid: str
    handle: int
    flags: frozenset[str]
    descriptors: tuple[Descriptor, ...] = ()

    @property
    def notifies(self) -> bool:
        return bool(self.flags & {NOTIFY, INDICATE})

    @property
    def writable(self) -> bool:
        return bool(self.flags & {WRITE, WRITE_COMMAND})


@dataclass(frozen=True, slots=True)
class Service:
    uuid: str
    handle: int
    characteristics: tuple[Characteristic, ...]


Services = tuple[Service, ...]
