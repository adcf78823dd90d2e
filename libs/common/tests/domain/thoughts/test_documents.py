"""Any value of ours has one text, named by its hash; what is large stands once, however often it is named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dexlane.domain.circumstances import Holdings, Market, PlanningRules
from dexlane.domain.thoughts.documents import (
    PART_CHARS,
    TELL_AGAIN_MS,
    Apart,
    DocumentError,
    Library,
    references,
    resolve,
)
from dexlane.events.risk import VerdictApproved
from dexlane.events.thoughts import content_id
from dexlane.testing.builders import V2_POOL, a_market
from dexlane.testing.thinking import planning_arguments
from dexlane.values.books import Book, Lane


def written(value: Any, library: Library | None = None, now_ms: int = 0) -> tuple[str, dict[str, str]]:
    taken = (library or Library()).round(now_ms)
    return taken.put(value), taken.texts


def test_a_document_is_named_by_the_hash_of_its_text() -> None:
    document_id, texts = written({"b": (1, 2), "a": frozenset({"y", "x"}), "lane": Lane.FAST, "none": None})
    assert texts[document_id] == '{"a":["x","y"],"b":[1,2],"lane":"fast","none":null}'
    assert document_id == content_id(texts[document_id].encode())


def test_whole_numbers_that_other_languages_would_round_are_texts() -> None:
    document_id, texts = written([2**53 - 1, 2**53, -(2**53), 2**256])
    assert texts[document_id] == f'[{2**53 - 1},"{2**53}","{-(2**53)}","{2**256}"]'


@pytest.mark.parametrize(
    ("name", "kind"),
    [("cause", VerdictApproved), ("book", Book), ("holdings", Holdings), ("rules", PlanningRules)],
)
def test_what_planning_is_given_is_read_back_as_it_was(name: str, kind: type[Any]) -> None:
    value = planning_arguments()[name]
    document_id, texts = written(value)
    assert TypeAdapter(kind).validate_json(json.dumps(resolve(document_id, texts.get))) == value


def test_a_market_is_read_back_with_the_states_of_its_pools() -> None:
    market = a_market()
    document_id, texts = written(market)
    back = TypeAdapter(Market).validate_json(json.dumps(resolve(document_id, texts.get)))
    assert back.pools == market.pools
    assert (back.block, back.fee_quote, back.status) == (market.block, market.fee_quote, market.status)


def test_large_parts_stand_in_documents_of_their_own_and_are_told_once() -> None:
    library = Library()
    first = library.round(0)
    first.put(a_market())
    first.keep()
    later = library.round(1)
    document_id = later.put(a_market(timestamp_s=1_700_000_012))
    assert set(later.texts) == {document_id}
    assert references(later.texts[document_id]) <= set(first.texts)
    assert any(V2_POOL in text for text in first.texts.values())


def test_nothing_counts_as_told_before_it_is_certain() -> None:
    library = Library()
    library.round(0).put(a_market())
    _, again = written(a_market(), library)
    assert len(again) > 1


def test_documents_are_told_again_after_an_hour_because_archives_forget() -> None:
    library = Library()
    first = library.round(0)
    first.put(a_market())
    first.keep()
    assert written(a_market(), library, TELL_AGAIN_MS - 1)[1] == {}
    assert written(a_market(), library, TELL_AGAIN_MS)[1].keys() == first.texts.keys()


def test_an_object_that_was_written_is_known_by_itself_and_not_by_its_place_in_memory() -> None:
    library = Library()
    for number in range(50):
        taken = library.round(0)
        row = tuple(f"{number} {'x' * 100} {part}" for part in range(20))
        document_id = taken.put({"row": row})
        taken.keep()
        assert written({"row": row}, Library())[0] == document_id


def test_a_part_apart_is_a_document_however_small_and_a_bare_number_is_none() -> None:
    document_id, texts = written({"small": Apart({"a": 1}), "number": Apart(7)})
    assert references(texts[document_id]) == {content_id(b'{"a":1}')}
    assert resolve(document_id, texts.get) == {"small": {"a": 1}, "number": 7}


def test_a_mapping_that_looks_like_a_reference_is_refused() -> None:
    with pytest.raises(TypeError, match="reference"):
        written({"$": "x"})


@dataclass
class Clock:
    """Something that no decision may be computed from."""

    now: object


def test_what_is_no_value_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="object"):
        written(Clock(object()))


@pytest.mark.parametrize("fault", ["missing", "changed"])
def test_a_fault_is_told_with_the_name_of_the_document(fault: str) -> None:
    document_id, texts = written(a_market())
    part = sorted(references(texts[document_id]))[0]
    if fault == "missing":
        del texts[part]
    else:
        texts[part] = texts[part].replace("1", "2", 1)
    with pytest.raises(DocumentError, match=f"{part}.*{fault}"):
        resolve(document_id, texts.get)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(min_size=2, max_size=8), inner, max_size=6),
    max_leaves=60,
)


def readable(value: Any) -> Any:
    """Large numbers come back as texts; everything else as it was."""
    if isinstance(value, list):
        return [readable(one) for one in value]
    if isinstance(value, dict):
        return {key: readable(one) for key, one in value.items()}
    is_large = isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53
    return str(value) if is_large else value


@given(value=st.dictionaries(st.text(min_size=2, max_size=8), plain, max_size=8), filler=st.integers(0, PART_CHARS))
def test_whatever_is_written_is_read_back_and_has_one_name(value: dict[str, Any], filler: int) -> None:
    value = {**value, "filler": "x" * filler, "twice": [value, value]}
    document_id, texts = written(value)
    assert resolve(document_id, texts.get) == readable(value)
    turned = dict(reversed(list(value.items())))
    assert written(turned)[0] == document_id
    for name, text in texts.items():
        assert content_id(text.encode()) == name
        assert orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode() == text, "it is canonical"
