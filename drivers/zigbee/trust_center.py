"""Whom an EZSP stick lets in, and when.

bellows opens the stick to anybody (well-known link key, open policy) in the background of every `permit`, for two seconds also when the
window is being closed, and takes only the policy back. An install-code window that follows would be open to strangers. Here the
background work ends with its window, and closing takes policy and keys back at once.
"""

from typing import Any

import bellows.types as t
import zigpy.application


async def permit(app: Any, seconds: int, node: Any = None) -> None:
    """Open or close (0) the join window of bellows' `app` for devices without an install code."""
    await shut(app)
    if seconds:
        app.opening = app.create_task(app._ezsp.pre_permit(seconds), "join policy")  # noqa: SLF001  bellows has no public name
    await zigpy.application.ControllerApplication.permit(app, seconds, node)


async def shut(app: Any) -> None:
    """Take back what an earlier window allowed: its policy and its keys."""
    ezsp = app._ezsp  # noqa: SLF001
    if app.opening is not None:
        app.opening.cancel()
        app.opening = None
    if ezsp.ezsp_version >= 8:  # noqa: PLR2004  earlier protocols have no such policy
        await ezsp.setPolicy(policyId=t.EzspPolicyId.TRUST_CENTER_POLICY, decisionId=ezsp.tc_policy)
    await ezsp.clearTransientLinkKeys()
