"""Fetches a small document of an update."""

from agent.cloud.rest_answer import Answer, UnusableError, failure
from agent.cloud.rest_request import file_request
from agent.ota.fetch import FetchPolicy
from agent.ota.http_get import Line

_REFUSED = 300


class TooMuchError(UnusableError):
    """It does not end where it may: endless data."""


def get(url: str, policy: FetchPolicy, most: int) -> bytes:
    """At most `most` bytes from an address, for a worker's thread. Raises RestError, UnavailableError, UnusableError, UsageError."""
    line = Line(policy)
    buffer = memoryview(bytearray(most + 1))
    done = 0
    with line.get(file_request(url, plain=policy.plain_http), {}) as (head, response):
        if head.status >= _REFUSED:
            raise failure(Answer(head.status, head.headers, b"", head.place), wait=None)
        while response.length != 0 and done <= most:
            done += line.read(response, buffer[done:])
        if done > most:
            raise TooMuchError(f"more than {most} bytes", place=head.place)
    return bytes(buffer[:done])
