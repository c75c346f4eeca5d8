"""The pure parts of a download: ranges, validators, the chunk map, the bandwidth limit, and which mirror is asked when."""

from random import Random

import pytest
from hostile_files import content, source
from hypothesis import given
from hypothesis import strategies as st

from agent.cloud.rest_answer import RestError, UnavailableError, UnusableError
from agent.ota.bucket import Bucket
from agent.ota.mirrors import Mirrors
from agent.ota.ranges import Asked, Head, RangeError, content_range, judge, validator
from agent.ota.source import FetchPolicy, Source
from agent.ota.trouble import SourceError

GOOD = "0" * 64
SIZES = st.integers(1, 10**15)


# ---- ranges ---------------------------------------------------------------------------------------------------------


@given(first=SIZES, length=SIZES, behind=SIZES, known=st.booleans())
def test_a_content_range_is_read_as_it_was_written(first: int, length: int, behind: int, known: bool) -> None:  # noqa: FBT001
    total = first + length + behind if known else None
    text = f"bytes {first}-{first + length - 1}/{total if known else '*'}"
    assert content_range(text) == (first, first + length, total)


@given(st.text("bytes 0159-/*\u0663", max_size=40).map("bytes {}".format) | st.text(max_size=40))
def test_a_content_range_is_right_or_none(text: str) -> None:
    found = content_range(text)
    if found is not None:
        start, end, total = found
        assert 0 <= start < end
        assert total is None or end <= total


@pytest.mark.parametrize("text", ["bytes 5-4/10", "bytes 0-10/10", "bytes */10", "bits 0-1/2", "bytes ٣-٤/٩", ""])
def test_a_part_that_cannot_be_is_none(text: str) -> None:
    assert content_range(text) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"etag": '"a"'}, '"a"'),
        ({"etag": 'W/"a"'}, ""),
        ({"etag": '"a\x01"'}, ""),
        ({"etag": '"' + "a" * 300 + '"'}, ""),
        ({"etag": "a"}, ""),
        ({"last-modified": "Thu, 01 Jan 1970 00:00:00 GMT", "date": "Thu, 01 Jan 1970 00:00:09 GMT"}, "Thu, 01 Jan 1970 00:00:00 GMT"),
        ({"last-modified": "Thu, 01 Jan 1970 00:00:09 GMT", "date": "Thu, 01 Jan 1970 00:00:09 GMT"}, ""),
        ({"last-modified": "Thu, 01 Jan 1970 00:00:00 GMT"}, ""),
        ({"last-modified": "yesterday", "date": "Thu, 01 Jan 1970 00:00:09 GMT"}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_only_what_names_the_bytes_is_a_validator(headers: dict[str, str], expected: str) -> None:
    assert validator(headers) == expected


@given(
    status=st.sampled_from([200, 204, 206, 304, 416]),
    headers=st.dictionaries(
        st.sampled_from(["content-range", "content-encoding", "content-type", "etag", "date", "last-modified"]),
        st.text(max_size=30) | st.sampled_from(["bytes 5-9/10", "bytes 0-9/10", "bytes */10", "gzip", "identity"]),
    ),
    lengths=st.lists(st.sampled_from(["10", "5", "", "x", "-1"]), max_size=2),
    chunked=st.booleans(),
    ranged=st.booleans(),
)
def test_an_answer_is_judged_whatever_it_is(
    status: int,
    headers: dict[str, str],
    lengths: list[str],
    chunked: bool,  # noqa: FBT001
    ranged: bool,  # noqa: FBT001
) -> None:
    asked = Asked(5 if ranged else 0, 10, ranged)
    try:
        span = judge(Head(status, headers, tuple(lengths), chunked, "GET x"), asked)
    except UnusableError:
        return
    assert 0 <= span.start < span.end <= 10
    assert span.start == (asked.offset if status == 206 else 0)
    assert status in (200, 206)


def test_a_part_where_none_was_asked_for_leaves_the_whole_to_be_tried() -> None:
    with pytest.raises(RangeError):
        judge(Head(206, {"content-range": "bytes 0-9/10"}, (), chunked=False, place=""), Asked(0, 10, ranged=False))


# ---- the chunk map --------------------------------------------------------------------------------------------------


@given(size=st.integers(1, 5000), chunk=st.integers(1, 700), offset=st.integers(0, 4999))
def test_chunks_cover_the_file(size: int, chunk: int, offset: int) -> None:
    made = Source(("http://x",), size, GOOD, chunk, (GOOD,) * -(-size // chunk))
    if offset >= size:
        with pytest.raises(IndexError):
            made.chunk_at(offset)
        return
    found = made.chunk_at(offset)
    assert found.start <= offset < found.end <= size
    assert found.start == found.number * chunk
    assert found.end == size or found.end - found.start == chunk


@pytest.mark.parametrize(
    "wrong",
    [
        {"urls": ()},
        {"size": 0},
        {"size": 1 << 60},
        {"sha256": "abc"},
        {"sha256": "A" * 64},
        {"chunk_size": 0},
        {"chunks": (GOOD,)},
        {"chunks": (GOOD, "x")},
    ],
)
def test_a_source_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    facts: dict[str, object] = {"urls": ("http://x?sig=CANARY",), "size": 20, "sha256": GOOD, "chunk_size": 10}
    with pytest.raises(SourceError) as raised:
        Source(**{**facts, **wrong})  # type: ignore[arg-type]
    assert "CANARY" not in raised.value.advice


def test_a_source_does_not_show_its_signatures() -> None:
    assert "CANARY" not in repr(source(content(10), "https://host/f?sig=CANARY"))


# ---- bandwidth ------------------------------------------------------------------------------------------------------


@given(
    rate=st.integers(1, 10**7),
    reads=st.lists(st.tuples(st.integers(1, 10**6), st.floats(-1, 5)), min_size=1, max_size=40),
)
def test_no_more_comes_than_the_rate_and_one_burst(rate: int, reads: list[tuple[int, float]]) -> None:
    bucket, now, total, late = Bucket(rate, 0.0), 0.0, 0, 0.0
    for count, more in reads:
        late = bucket.take(count, now)
        total += count
        assert late >= 0
        now += late + max(0.0, more)  # what the clock does by itself; going back earns nothing
        bucket.take(0, now + min(0.0, more))
    assert total <= rate * now + bucket.step + 1e-6 * total + 1


def test_no_limit_waits_for_nothing() -> None:
    bucket = Bucket(0, 0.0)
    assert (bucket.take(10**12, 0.0), bucket.step) == (0.0, 0)


# ---- mirrors --------------------------------------------------------------------------------------------------------


def mirrors(*urls: str, **policy: int) -> Mirrors:
    return Mirrors(urls, FetchPolicy(**policy), Random(1))  # type: ignore[arg-type]


def test_another_mirror_is_asked_at_once_and_a_single_one_after_a_pause() -> None:
    both = mirrors("http://a", "http://b")
    first, wait = both.pick(100.0)
    assert wait == 0
    both.failed(first, UnavailableError("away"), 100.0)
    second, wait = both.pick(100.0)
    assert (second is not first, wait) == (True, 0.0)
    both.failed(second, UnavailableError("away"), 100.0)
    _, wait = both.pick(100.0)
    assert 0 < wait <= 1.0


def test_pauses_grow_to_a_quarter_of_an_hour_and_progress_starts_them_anew() -> None:
    one = mirrors("http://a", resumes=100)
    mirror, _ = one.pick(0.0)
    waits = []
    for _ in range(60):
        one.failed(mirror, UnavailableError("away"), 0.0)
        waits.append(one.pick(0.0)[1])
    assert waits[0] <= 1
    assert 450 < max(waits) <= 900
    one.progressed(mirror)
    one.failed(mirror, UnavailableError("away"), 0.0)
    assert one.pick(0.0)[1] <= 1


def test_what_a_server_asks_for_is_waited_and_too_much_is_not() -> None:
    one = mirrors("http://a")
    mirror, _ = one.pick(0.0)
    one.failed(mirror, UnavailableError("busy", retry_after=700.0), 0.0)
    assert 700 <= one.pick(0.0)[1] <= 701
    one.failed(mirror, UnavailableError("busy", retry_after=901.0), 0.0)
    with pytest.raises(UnavailableError) as raised:
        one.pick(0.0)
    assert raised.value.retry_after == 901.0


def test_twenty_resumes_without_a_new_byte_are_the_end() -> None:
    both = mirrors("http://a", "http://b")
    for number in range(21):
        mirror, _ = both.pick(float(number) * 1000)
        both.failed(mirror, UnavailableError("away", status=503), float(number) * 1000)
    with pytest.raises(UnavailableError, match="20 resumes brought nothing new; the last: away") as raised:
        both.pick(0.0)
    assert raised.value.status == 503


def test_who_lies_three_times_or_refuses_is_left() -> None:
    both = mirrors("http://a", "http://b")
    liar, _ = both.pick(0.0)
    for _ in range(3):
        both.struck(liar, UnusableError("no HTTP"), 0.0)
    other, _ = both.pick(0.0)
    assert other is not liar
    both.dropped(other, RestError("forbidden", status=403))
    with pytest.raises(RestError, match="forbidden"):
        both.pick(0.0)


def test_a_mirror_is_known_again_when_its_signature_is_new() -> None:
    old, new, other = mirrors("https://h/f?sig=1", "https://h/f?sig=2", "https://h/g").all
    assert old.key == new.key != other.key
    assert "sig" not in repr(old)
