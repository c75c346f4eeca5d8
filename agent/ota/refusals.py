"""Why an update is refused: a class for each reason, with a short code that never changes, for the job's status and for statistics.

The order of the classes is the order of the checks (agent/ota/trust.py, `verify`).
"""

from typing import ClassVar

from agent.errors import HubError


class RefusedError(HubError):
    """An update is not taken. `code` is what a cloud is told beside the sentence."""

    code: ClassVar[str] = "refused"


class UnsignedError(RefusedError):
    """There is no signed release for what is to be installed."""

    code = "unsigned"


class TooLargeError(RefusedError):
    """More bytes than such a document may have: endless data."""

    code = "too-large"


class MalformedError(RefusedError):
    """Not the strict JSON of the schema."""

    code = "malformed"


class WrongTypeError(RefusedError):
    """A document of another type than is asked for: a signed root is no release."""

    code = "wrong-type"


class SignatureError(RefusedError):
    """A signature is not of the key that it names, or not of these bytes."""

    code = "bad-signature"


class ThresholdError(RefusedError):
    """Fewer keys of the role have signed than must: an unknown or revoked key, or a compromise below the threshold."""

    code = "too-few-signatures"


class RootChainError(RefusedError):
    """A root that does not follow the one before it, or an older one than was seen already."""

    code = "root-chain"


class RootExpiredError(RefusedError):
    """The root is too old to say whose signatures count."""

    code = "root-expired"


class WrongProductError(RefusedError):
    """A document for another product than this hub."""

    code = "wrong-product"


class ExpiredError(RefusedError):
    """Signed once, no longer offered: a freeze or a replay."""

    code = "expired"


class NotYetError(RefusedError):
    """Not to be installed before `until`, seconds since 1970; or signed in the future, None: no clock of ours makes that right."""

    code = "not-yet"

    def __init__(self, message: str, until: float | None, *, place: str = "", remedy: str = "") -> None:
        super().__init__(message, place=place, remedy=remedy)
        self.until = until


class TimeUnknownError(RefusedError):
    """Nobody knows the time, and this is no newer version than the hub has."""

    code = "time-unknown"


class WrongHardwareError(RefusedError):
    """Nothing in the release is for this hub, or the image is not for this device."""

    code = "wrong-hardware"


class DependencyError(RefusedError):
    """It needs a component or a version that is neither here nor in the release."""

    code = "dependency"


class RollbackError(RefusedError):
    """Older than what was confirmed before, and no permission for it."""

    code = "rollback"


class EpochError(RollbackError):
    """Below the security epoch that was confirmed before: it has holes that are known. No permission helps."""

    code = "security-epoch"


class MixAndMatchError(RefusedError):
    """Another content under the number of a release that was confirmed."""

    code = "mix-and-match"


class DowngradeError(RefusedError):
    """The permission for a downgrade is not for this hub, this step, or this day."""

    code = "no-permission"


class ContentError(RefusedError):
    """The bytes of a file are not those that were signed."""

    code = "wrong-content"
