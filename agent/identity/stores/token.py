"""One login to a PKCS #11 token, and what a person does about each way in which a token fails.

A PIN that was refused is not tried again: a token locks after a few wrong ones, often for good. In one process a refusal is remembered;
between processes PinRefusedError ends the daemon with 78, on which systemd does not start it again; and where the token says that one try
is left, that one is left to a person.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pkcs11
from pkcs11 import exceptions as trouble

from agent.errors import ConfigError, HubError
from agent.identity.keys import KeyStoreAwayError, KeyTroubleError, PinRefusedError
from agent.settings.secret import Secret

_WRONG_PIN = (trouble.PinIncorrect, trouble.PinLenRange, trouble.PinInvalid)
_LOST = (
    trouble.DeviceRemoved,
    trouble.TokenNotPresent,
    trouble.TokenNotRecognised,
    trouble.SessionHandleInvalid,
    trouble.SessionClosed,
    trouble.SlotIDInvalid,
    trouble.UserNotLoggedIn,
    trouble.KeyHandleInvalid,
    trouble.ObjectHandleInvalid,
    trouble.OperationNotInitialized,
    trouble.DeviceError,
    trouble.GeneralError,
)
_CANNOT = (
    trouble.MechanismInvalid,
    trouble.MechanismParamInvalid,
    trouble.KeySizeRange,
    trouble.DomainParamsInvalid,
    trouble.AttributeValueInvalid,
    trouble.AttributeTypeInvalid,
    trouble.TemplateInconsistent,
    trouble.FunctionNotSupported,
)
_FULL = (trouble.DeviceMemory, trouble.HostMemory)
_READ_ONLY = (trouble.TokenWriteProtected, trouble.SessionReadOnly)
_UNLOCK = "unlock it with the SO PIN: pkcs11-tool --module MODULE --login --login-type so --init-pin"

Found = TypeVar("Found")


class Token:
    """The token `label` behind the library `module`. One session, opened at the first use and again after a loss; safe for threads."""

    def __init__(self, module: Path, label: str, pin: Secret) -> None:
        self.label, self.pin = label, pin
        self.module = module
        self._lock = threading.RLock()
        self._session: pkcs11.Session | None = None
        self._used = False
        self._refusal: PinRefusedError | None = None

    @property
    def place(self) -> str:
        return f"token {self.label!r}"

    @contextmanager
    def session(self) -> Iterator[pkcs11.Session]:
        """A session that is logged in, for this thread alone. Raises KeyTroubleError, KeyStoreAwayError, PinRefusedError, ConfigError."""
        with self._lock:
            try:
                if self._session is None:
                    self._session = self._login()
                yield self._session
            except trouble.PKCS11Error as error:
                if isinstance(error, _LOST):
                    self._drop()
                raise self._explain(error) from error

    def surely(self, query: Callable[[pkcs11.Session], Found]) -> Found:
        """The answer of `query`; nothing (None, false, empty) of an empty token only from a library that was begun anew.

        SoftHSM shows a token that was taken out as an empty one: a key must not be taken for lost, or for destroyed, by that. One that has
        anything is there: others in this process (OpenSSL's provider) may use the library, and are left alone. Raises as `session` does.
        """
        with self._lock:
            with self.session() as session:
                found = query(session)
                if found or [*session.get_objects()]:
                    return found
            self._drop()
            with self.session() as session:
                return query(session)

    def _login(self) -> pkcs11.Session:
        if self._refusal is not None:
            raise self._refusal
        token = self._find()
        flags = pkcs11.TokenFlag(token.flags)
        if pkcs11.TokenFlag.USER_PIN_LOCKED in flags:
            self._refusal = self._pin_error("the token's PIN is locked: too many wrong ones", _UNLOCK)
        elif pkcs11.TokenFlag.USER_PIN_FINAL_TRY in flags:
            remedy = (
                "log in once by hand, which sets the counter back: pkcs11-tool --module MODULE --login --list-objects"
            )
            raise self._pin_error("one try is left before the token locks: it is left to you", remedy)
        if self._refusal is not None:
            raise self._refusal
        try:
            return token.open(rw=True, user_pin=self.pin.reveal())
        except trouble.UserAlreadyLoggedIn:  # OpenSSL's provider in this process, with the same library
            return token.open(rw=True)
        except _WRONG_PIN:
            remedy = "put the right PIN into what `pin` names, then start the agent again; the token locks after a few wrong ones"
            self._refusal = self._pin_error("the token refuses the PIN; it is not tried again", remedy)
            raise self._refusal from None
        except trouble.PinLocked:
            self._refusal = self._pin_error("the token's PIN is locked: too many wrong ones", _UNLOCK)
            raise self._refusal from None
        except (trouble.UserPinNotInitialized, trouble.PinExpired) as error:
            text = f"the token wants a new PIN first ({type(error).__name__})"
            raise self._pin_error(text, "set it: pkcs11-tool --module MODULE --login --change-pin") from error

    def _pin_error(self, text: str, remedy: str) -> PinRefusedError:
        return PinRefusedError(text, place=self.place, remedy=remedy.replace("MODULE", str(self.module)))

    def _find(self) -> pkcs11.Token:
        try:
            library = pkcs11.lib(str(self.module))
            if self._used:  # a library may see what was plugged in or taken out only once it is begun anew
                library.reinitialize()
            self._used = True
            found = list(library.get_tokens(token_label=self.label))
        except trouble.PKCS11Error as error:
            if "loading" in str(error):
                remedy = "set identity.pkcs11_module to the PKCS #11 library that came with the token"
                raise ConfigError(
                    "it cannot be loaded as a PKCS #11 library", place=str(self.module), remedy=remedy
                ) from error
            raise
        if not found:
            remedy = f"plug it in; `pkcs11-tool --module {self.module} --list-slots` shows what is there"
            raise KeyStoreAwayError("the token is not there", place=self.place, remedy=remedy)
        if len(found) > 1:
            text = f"{len(found)} tokens have this label"
            raise ConfigError(text, place=self.place, remedy="take the others out, or give them other labels")
        return found[0]

    def _drop(self) -> None:
        """Forget a session that is of no use; the next call logs in anew, with the PIN that was right before."""
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except trouble.PKCS11Error:
                return  # it is gone already

    def _explain(self, error: trouble.PKCS11Error) -> HubError:
        name = type(error).__name__
        if isinstance(error, _LOST):
            remedy = "plug it in again; the next use logs in by itself"
            return KeyStoreAwayError(f"the token was taken out or reset ({name})", place=self.place, remedy=remedy)
        if isinstance(error, _CANNOT):
            remedy = f"use P-256, which most can; `pkcs11-tool --module {self.module} --list-mechanisms` shows what this one can"
            return KeyTroubleError(f"the token cannot do this ({name})", place=self.place, remedy=remedy)
        if isinstance(error, _FULL):
            return KeyTroubleError(
                "the token is full", place=self.place, remedy="delete what is not used any more from it"
            )
        if isinstance(error, _READ_ONLY):
            return KeyTroubleError("the token is write-protected", place=self.place, remedy="allow it to be written")
        remedy = "see the documentation of the token; `pkcs11-tool --test --login` tries what it can"
        return KeyTroubleError(f"the token answers {name}", place=self.place, remedy=remedy)


_open: dict[tuple[Path, str], Token] = {}


def token(module: Path, label: str, pin: Secret) -> Token:
    """The token of this process by library and label. With another PIN it is another login; with the same, one refusal counts for all."""
    known = _open.get((module, label))
    if known is None or known.pin != pin:
        known = _open[module, label] = Token(module, label, pin)
    return known
