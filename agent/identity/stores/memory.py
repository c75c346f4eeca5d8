"""Files that are only in memory, for libraries that take nothing but a path."""

import fcntl
import os
from typing import Self

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class MemoryFile:
    """`content` as a file without a name, which nobody can change (memfd_create(2), file seals); gone with `close` or the process.

    It is closed in programs that this process starts. As everything in a process's memory, root and a debugger of the same user can read it.
    """

    def __init__(self, content: bytes, *, inherited: bool = False) -> None:
        flags = os.MFD_ALLOW_SEALING | (0 if inherited else os.MFD_CLOEXEC)
        self.descriptor = os.memfd_create("hub-agent", flags)
        try:
            written = 0
            while written < len(content):
                written += os.write(self.descriptor, content[written:])
            os.lseek(self.descriptor, 0, os.SEEK_SET)
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SEALS)
        except OSError:
            self.close()
            raise

    @property
    def path(self) -> str:
        """Opens the file anew, from its beginning, in this process."""
        return f"/proc/self/fd/{self.descriptor}"

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
