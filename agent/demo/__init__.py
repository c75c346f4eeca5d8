"""`agent demo`: the main job on one machine, narrated; each step says what it proves and fails by name.

The owner's steps are boto3 code (owner.py), shown before they run. They meet the stand-in cloud; behind it are the daemon as users run it,
a process of its own, so that the power cut in the middle is a real one, and the simulated home at its serial port.
"""

import asyncio
import signal
import tempfile
import time
from pathlib import Path

from agent import console
from agent.demo.stage import Stage, StepFailed, say
from agent.demo.story import tell
from agent.errors import Exit


def demo(*, once: bool) -> int:
    """Run the story; stay up until Ctrl-C or SIGTERM unless `once`. Returns 0, or 70 after naming the step that failed."""
    try:
        asyncio.run(_demo(once=once))
    except StepFailed as error:
        console.show_error(f"step failed: {error}")
        return int(Exit.SOFTWARE)
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
    return int(Exit.OK)


async def _demo(*, once: bool) -> None:
    begin, itself = time.monotonic(), asyncio.current_task()
    if itself is not None:  # a hub that was left alone would look for its sticks among those of the next demo
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, itself.cancel)
    with tempfile.TemporaryDirectory(prefix="hub-agent-demo-") as folder:
        stage = Stage(Path(folder))
        try:
            await stage.start()
            await tell(stage)
            say(f"done in {time.monotonic() - begin:.0f} s")
            if not once:
                say("the hub stays up until Ctrl-C. Its cloud, with buttons, is at:")
                say(f"  {stage.told['console']}")
                say("and in another terminal:")
                say(f"  {stage.command} devices -c {folder}/agent.toml")
                await asyncio.Event().wait()
        finally:
            await stage.stop()
