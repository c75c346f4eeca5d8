"""The TPM through the `openssl` command and its provider tpm2-openssl, and what a person does about each way in which it fails.

A command for each use, not a library in this process: neither a C extension nor OPENSSL_CONF is needed for it, and a TPM that hangs costs
a time-out. Response codes: TCG, TPM 2.0 Library, part 2, table 17 (in the lower 12 bits: parameters and sessions are masked out).
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable

from agent.errors import ConfigError, HubError
from agent.identity.keys import KeyStoreAwayError, KeyTroubleError
from agent.identity.stores.memory import MemoryFile

DEVICE = "device:/dev/tpmrm0"
TIMEOUT, GENERATE_TIMEOUT = 30.0, 300.0  # seconds; a chip looks for the primes of RSA for minutes
_PROVIDERS = (
    "-provider",
    "tpm2",
    "-provider",
    "default",
    "-propquery",
    "?provider=tpm2,tpm2.digest!=yes,tpm2.cipher!=yes",
)
_PASSED = ("PATH", "DBUS_SESSION_BUS_ADDRESS", "OPENSSL_MODULES", "LD_LIBRARY_PATH", "XDG_RUNTIME_DIR")
_CODE = re.compile(r"ErrorCode \(0x([0-9A-Fa-f]+)\)")
_LOCKOUT, _NO_ROOM, _FAILURE, _BAD_AUTH = 0x921, (0x902, 0x903, 0x904), 0x101, (0x9A2, 0x98E)
_INTEGRITY, _FORMAT_ONE = 0x09F, 0x0BF  # TPM_RC_INTEGRITY of any parameter: its number is in bits 6 and 8 to 11


class Tpm:
    """The TPM that `tcti` names, as TPM2OPENSSL_TCTI has it; by default the kernel's, with the kernel's resource manager."""

    def __init__(self, tcti: str = "") -> None:
        self.tcti = tcti or DEVICE

    def openssl(
        self, command: str, *arguments: str, files: tuple[bytes, ...] = (), data: bytes = b"", limit: float = TIMEOUT
    ) -> bytes:
        """Run a command of openssl, and return what it prints. `{0}`, `{1}` in the arguments are the paths of `files`, which no disk sees.

        Raises KeyTroubleError, KeyStoreAwayError, ConfigError.
        """
        program = shutil.which("openssl")
        if program is None:
            raise ConfigError("there is no command openssl", remedy="apt-get install openssl tpm2-openssl")
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ} | {
            "TPM2OPENSSL_TCTI": self.tcti
        }
        lent = [MemoryFile(content, inherited=True) for content in files]
        try:
            paths = [f"/dev/fd/{file.descriptor}" for file in lent]
            done = subprocess.run(  # noqa: S603  no shell; arguments are ours
                [program, command, *_PROVIDERS, *(argument.format(*paths) for argument in arguments)],
                input=data,
                capture_output=True,
                env=environment,
                pass_fds=[file.descriptor for file in lent],
                start_new_session=True,  # without a terminal nothing is asked of a person
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            remedy = "try again; restart the machine if it stays so"
            raise KeyStoreAwayError(
                f"the TPM has not answered within {limit:g} s", place=self.tcti, remedy=remedy
            ) from error
        finally:
            for file in lent:
                file.close()
        if done.returncode:
            raise self._explain(done.stderr.decode(errors="replace"))
        return done.stdout

    def _explain(self, words: str) -> HubError:
        codes = {int(code, 16) & 0xFFF for code in _CODE.findall(words)}
        if "unable to load provider" in words and not codes:
            if "tcti" in words:
                remedy = "check identity.tpm_tcti, that the agent's user is in the group tss, and DeviceAllow=/dev/tpmrm0 in the unit"
                return KeyStoreAwayError("there is no TPM", place=self.tcti, remedy=remedy)
            remedy = "apt-get install tpm2-openssl"
            return ConfigError("the command openssl has no provider tpm2", place="identity.store", remedy=remedy)
        for found, text, remedy, kind in _TROUBLES:
            if any(found(code) for code in codes):
                return kind(text, place=self.tcti, remedy=remedy)
        if "unknown algorithm" in words or "cannot create key" in words:
            text, remedy = "the TPM cannot make a key of this kind", "use P-256, which every TPM can"
            return KeyTroubleError(text, place=self.tcti, remedy=remedy)
        if "Could not read" in words:
            remedy = "restore it from a backup of the state folder, or destroy it and make another"
            return KeyTroubleError("the file is no key of a TPM", place=self.tcti, remedy=remedy)
        last = (words.strip().splitlines() or ["no words"])[-1]
        return KeyTroubleError(
            f"the TPM or openssl fails: {last}", place=self.tcti, remedy="see `tpm2_getcap properties-variable`"
        )


_LOCKED_REMEDY = "wait until it ends by itself (tpm2_getcap properties-variable tells when), or tpm2_dictionarylockout --clear-lockout"
_ROOM_REMEDY = "use a resource manager: /dev/tpmrm0, not /dev/tpm0, or tpm2-abrmd"
_OWNER_REMEDY = (
    "hub-agent makes its keys below the owner hierarchy without a password: tpm2_changeauth -c owner -p PASSWORD"
)
_FOREIGN_REMEDY = "the key works only in the TPM that made it, and until that is cleared: make a new key"
_TROUBLES: tuple[tuple[Callable[[int], bool], str, str, type[HubError]], ...] = (
    (lambda code: code == _LOCKOUT, "the TPM is locked: too many wrong passwords", _LOCKED_REMEDY, KeyStoreAwayError),
    (lambda code: code in _NO_ROOM, "the TPM has no room for one more object", _ROOM_REMEDY, KeyTroubleError),
    (lambda code: code == _FAILURE, "the TPM is in failure mode", "switch the machine off and on", KeyStoreAwayError),
    (lambda code: code in _BAD_AUTH, "the TPM's owner hierarchy has a password", _OWNER_REMEDY, KeyTroubleError),
    (
        lambda code: code & _FORMAT_ONE == _INTEGRITY,
        "the key is of another TPM, or damaged",
        _FOREIGN_REMEDY,
        KeyTroubleError,
    ),
)
