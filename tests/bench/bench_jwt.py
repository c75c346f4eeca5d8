"""Tokens signed by each key store beside bare pyjwt with a key in memory: how many a second, and the slowest of a hundred."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jwt
from rig import figure

from agent.clock import Moment
from agent.identity.keys import P256, make
from agent.identity.stores import forget, open_keys
from agent.identity.tokens import Stored, Tokens

# isort: split
from key_rig import Place, places

SECONDS = 3.0  # of each store


class Now:
    """The time, which is trusted."""

    def now(self) -> Moment:
        return Moment(time.time(), time.monotonic(), "")


def measure(sign: Callable[[], str]) -> tuple[float, float]:
    """Tokens a second, and the 99th percentile of one in milliseconds."""
    sign()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while (begin := time.perf_counter()) < end:
        sign()
        times.append(time.perf_counter() - begin)
    return len(times) / sum(times), statistics.quantiles(times, n=100)[98] * 1000


def main() -> None:
    key = make(P256)
    bare, p99 = measure(lambda: jwt.encode({"sub": "hub-1", "exp": int(time.time()) + 600}, key, algorithm="ES256"))  # type: ignore[arg-type]
    figure("jwt", store="bare pyjwt", per_s=bare, p99_ms=p99)
    with tempfile.TemporaryDirectory() as name, places(Path(name)) as devices:
        for found in devices.values():
            os.environ.update(found.get("environment", {}))
        for store, found in devices.items():
            settings = Place(store, Path(name) / store, **found).settings()
            keys = open_keys(settings)
            keys.generate("hub")
            tokens = Tokens(Stored(keys, "hub"), "hub-1", Now())
            rate, p99 = measure(lambda tokens=tokens: tokens.make(600, {}))  # type: ignore[misc]
            figure("jwt", store=store, per_s=rate, p99_ms=p99, of_bare=rate / bare)
            forget(settings)


if __name__ == "__main__":
    main()
