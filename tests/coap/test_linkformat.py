"""The link format of RFC 6690, with its own examples, and with whatever a stranger sends."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.coap.linkformat import BIGGEST, MOST, Link, LinkFormatError, parse

SENSORS = b'</sensors/temp>;rt="temperature-c";if="sensor",</sensors/light>;rt="light-lux core.sen-light";if="sensor"'  # RFC 6690, section 5


def test_the_examples_of_the_rfc() -> None:
    temperature, light = parse(SENSORS)
    assert (temperature.target, temperature.words("rt"), temperature.words("if")) == (
        "/sensors/temp",
        ("temperature-c",),
        ("sensor",),
    )
    assert light.words("rt") == ("light-lux", "core.sen-light")
    (other,) = parse(b'<http://www.example.com/sensors/t123>;anchor="/sensors/temp";rel="describedby"')
    assert other.first("anchor") == "/sensors/temp"
    (large,) = parse(b'</firmware/v2.1>;rt="firmware";sz=262144')
    assert large.first("sz") == "262144"


def test_flags_formats_and_repetition() -> None:
    link = parse(b'</a>;obs;ct="112 110 x 99999999";rt=one;rt=two;title="a \\"b\\", <c>;"')[0]
    assert link.observable
    assert link.formats == (112, 110)
    assert link.attributes["rt"] == ("one",)  # RFC 6690, 3.1: of a second one nothing is said but that it must not be
    assert link.first("title") == 'a "b", <c>;'
    assert not parse(b"</b>")[0].observable
    assert parse(b"</a>;hreflang=en;hreflang=de")[0].attributes["hreflang"] == ("en", "de")


def test_nothing_is_an_empty_list_and_blanks_do_not_matter() -> None:
    assert parse(b"") == ()
    assert parse(b" </a> ; rt=x ,\n</b>") == (Link("/a", {"rt": ("x",)}), Link("/b"))


@pytest.mark.parametrize(
    "text",
    [
        b"<",
        b"</a",
        b"</a>,",
        b"</a>,,</b>",
        b"</a>;",
        b"</a>;=x",
        b'</a>;rt="x',
        b"</a>;rt=",
        b"/a",
        b"</a b>",
        b"<\xff>",
        b"</a></b>",
        b"</a>;rt=x y",
    ],
)
def test_half_a_list_is_refused(text: bytes) -> None:
    with pytest.raises(LinkFormatError):
        parse(text)


def test_it_is_bounded() -> None:
    with pytest.raises(LinkFormatError, match="at most"):
        parse(b"<" + b"a" * BIGGEST + b">")
    with pytest.raises(LinkFormatError, match="links"):
        parse(b",".join([b"</a>"] * (MOST + 1)))


NAMES = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8).filter(
    lambda n: n not in ("rt", "if", "sz", "ct", "obs")
)
TEXTS = st.text(st.characters(min_codepoint=0x20, exclude_characters="\x7f", exclude_categories=("Cs",)), max_size=20)


@given(
    st.lists(
        st.tuples(st.text("abc/0123456789.%-_~", max_size=20), st.dictionaries(NAMES, TEXTS, max_size=4)), max_size=6
    )
)
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read(links: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = ",".join(f"<{target}>" + "".join(f";{n}={quoted(v)}" for n, v in a.items()) for target, a in links)
    assert parse(text.encode()) == tuple(Link(t, {n: (v,) for n, v in a.items()}) for t, a in links)


@given(st.one_of(st.binary(max_size=200), st.text('<>/;,="\\abrt0123 \t\n', max_size=60).map(str.encode)))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_links_or_a_reason(data: bytes) -> None:
    with suppress(LinkFormatError):
        assert all(link.formats is not None for link in parse(data))
