"""How times, numbers, sizes and JSON are written, and what masking leaves."""

from __future__ import annotations

import jinja2
import pytest

from headrace.console import rendering
from headrace.console.masking import masked, masked_message
from headrace.console.texts import Texts


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (rendering.utc(1_767_225_600_000), "2026-01-01 00:00:00 UTC"),
        (rendering.utc(None), "—"),
        (rendering.in_bytes(0), "0 B"),
        (rendering.in_bytes(1536), "1.5 KiB"),
        (rendering.in_bytes(5 << 40), "5.0 TiB"),
        (rendering.number(1_234_567), "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"),
        (rendering.percent(1.0), "100 %"),
        (rendering.percent(0.99996), "99.99 %"),
        (rendering.percent(0.125), "12.5 %"),
        (rendering.duration(12), "12 ms"),
        (rendering.duration(2.5), "2.5 ms"),
        (rendering.duration(4), "4 ms"),
        (rendering.duration(1400), "1.4 s"),
        (rendering.duration(7_200_000), "2.0 h"),
        (rendering.span(0, 3_700_000), ("hour", 1)),
    ],
)
def test_written(written: object, expected: object) -> None:
    """As people read it; a share is never rounded up to all."""
    assert written == expected


def test_pretty_escapes() -> None:
    """What a profile holds cannot become markup."""
    text = str(rendering.pretty({"<b>": ["</pre><script>", 1, None]}))
    assert "<script" not in text
    assert "<b>" not in text


def test_masking_keeps_the_shape() -> None:
    """Values are hidden; memberships and what Headrace adds stay."""
    message = {
        "person": {"name": "Ada Lovelace", "age": 36, "vip": True},
        "segmentMembership": {"ups": {"S": {"status": "realized"}}},
        "identityMap": {"email": [{"id": "ada@example.com"}]},
        "_headrace": {"seq": 4},
    }
    hidden = masked_message(message)
    assert hidden["person"] == {"name": "A•••", "age": "•••", "vip": True}
    assert hidden["identityMap"] == {"email": [{"id": "a•••"}]}
    assert hidden["segmentMembership"] == message["segmentMembership"]
    assert hidden["_headrace"] == {"seq": 4}
    assert masked("abc") == "•••"


@pytest.mark.parametrize("language", ["en", "es"])
def test_texts_stand_in_the_templates_of_their_language(language: str) -> None:
    """Escaped like any other; what has words, or a key that is put together, is asked for when it is rendered."""
    t = Texts(language)
    made = rendering.environment(t)
    assert made.from_string('<b title="{{ t("nav.profile") }}">').render() == f'<b title="{t("nav.profile")}">'
    asking = made.from_string('{{ t("time.day", count=2) }} {{ t("nav." ~ key) }} {{ t.known("nav.live", "") }}')
    assert asking.render(t=t, key="live") == f"{t('time.day', count=2)} {t('nav.live')} {t('nav.live')}"
    with pytest.raises(KeyError):
        made.from_string('{{ t("no.such.key") }}')


def test_a_text_in_a_template_cannot_become_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever translates writes words."""
    monkeypatch.setattr(Texts, "__call__", lambda *_: "a < b & c")
    made = rendering.environment(Texts("en"))
    assert (
        made.from_string('{{ t("any") }} {% set x = t("any") %}{{ x }}').render()
        == "a &lt; b &amp; c a &lt; b &amp; c"
    )


def test_each_language_has_its_own_templates() -> None:
    """Kept, however often one asks."""
    templates = rendering.Templates()
    english, spanish = (templates.get("bell.html", Texts(language)) for language in ("en", "es"))
    assert english is not spanish
    assert templates.get("bell.html", Texts("en")) is english


def test_templates_see_members_and_methods_of_dicts() -> None:
    """A method wins over a member of its name, and what is not there is an error."""
    made = rendering.environment(Texts("en"))
    given = {"name": "x", "items": "y", "inner": {"n": 1}}
    text = '{{ d.name }}{{ d.inner.n }}{{ d["items"] }}{% for key, _ in d.items() %}{{ key }}{% endfor %}'
    assert made.from_string(text).render(d=given) == "x1ynameitemsinner"
    with pytest.raises(jinja2.UndefinedError):
        made.from_string("{{ d.missing }}").render(d=given)


def test_a_template_calls_what_takes_its_context() -> None:
    """Functions that ask for it, objects with such a call, and macros."""

    @jinja2.pass_context
    def said(context: jinja2.runtime.Context, word: str) -> str:
        return f"{word} {context['name']}"

    class Speaks:
        @jinja2.pass_context
        def __call__(self, context: jinja2.runtime.Context) -> str:
            return str(context["name"]).upper()

    text = '{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{{ said("hello") }} {{ speaks() }} {{ twice("<") }}'
    made = rendering.environment(Texts("en"))
    assert made.from_string(text).render(name="ada", said=said, speaks=Speaks()) == "hello ada ADA &lt;&lt;"
