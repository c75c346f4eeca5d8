"""Where the launcher and the slots are."""

from pathlib import Path

from agent.settings import Settings


def slots_folder(settings: Settings) -> Path:
    """That of the configuration, or the one in the state folder."""
    return Path(settings.ota.slots) if settings.ota.slots else settings.hub.state_dir / "slots"
