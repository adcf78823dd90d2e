"""Rules of books.toml: exact money, nothing unknown, every fault named with its place."""

from __future__ import annotations

import os
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.runtime.books_edit import render_book, replace_text, with_book, write_book
from dexlane.runtime.books_file import BooksFileError, default_books_text, load_books, paper_account, parse_books
from dexlane.values.books import DEFAULT_RELAY_RULES, Book, Lane, Mode, RelayPolicy, RelayRules
from dexlane.values.controls import USUAL_LIVE_CONTROLS, USUAL_PAPER_CONTROLS, Controls, WithoutReference, caps_of

ROLES = {"live-fast": "0x" + "A1" * 20, "live-smart": "0x" + "b2" * 20}
REPOSITORY = Path(__file__).parents[4]
PAPER = default_books_text().split("# ------", 2)[1].split("\n", 1)[1]


def parse(text: str) -> dict[str, Book]:
    return {book.id: book for book in parse_books(text, roles=ROLES)}


def faults(text: str) -> list[str]:
    with pytest.raises(BooksFileError) as caught:
        parse_books(text, roles=ROLES)
    return str(caught.value).splitlines()


def changed(old: str, new: str) -> str:
    assert old in PAPER
    return PAPER.replace(old, new)


def test_example_at_the_root_is_what_the_command_writes() -> None:
    assert (REPOSITORY / "books.example.toml").read_text() == default_books_text()


def test_example_holds_one_paper_and_one_live_book_with_the_same_settings() -> None:
    books = parse(default_books_text())
    assert {name: book.mode for name, book in books.items()} == {"live-devnet": Mode.LIVE, "paper-main": Mode.PAPER}
    same = ("level", "profile", "quote", "strategies", "limits", "exits", "slippage_tolerance_bps", "gas_reserve_wei")
    assert all(getattr(books["live-devnet"], key) == getattr(books["paper-main"], key) for key in same)


def test_amounts_become_smallest_units_exactly() -> None:
    book = parse(PAPER)["paper-main"]
    assert book.limits[Lane.FAST].capital == 100_000_000_000
    assert book.gas_reserve_wei == 5 * 10**16


def test_a_book_may_name_its_jurisdiction_and_keeps_it_when_written() -> None:
    told = parse(changed("# jurisdiction", "jurisdiction"))["paper-main"]
    assert told.jurisdiction == "EU"
    assert parse(render_book(told, roles=ROLES))["paper-main"] == told
    assert "jurisdiction" not in parse(PAPER)["paper-main"].model_dump(), "as before there were any"
    assert "String should match" in faults(changed('# jurisdiction = "EU"', 'jurisdiction = "Europe"'))[0]


@pytest.mark.parametrize(
    ("written", "units"),
    [('"2500"', 2_500_000_000), ('"2500.000001 USDC"', 2_500_000_001), ("2500", 2_500_000_000), ('"0.5"', 500_000)],
)
def test_money_may_be_text_with_or_without_symbol_or_a_whole_number(written: str, units: int) -> None:
    book = parse(changed('max_trade = "10000 USDC"', f"max_trade = {written}"))["paper-main"]
    assert book.limits[Lane.FAST].max_trade == units


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("2500.5", "a float cannot hold every amount of money; write it in quotes"),
        ("true", "an amount is a decimal number in quotes"),
        ('"2,500"', "is no amount"),
        ('"1e3"', "is no amount"),
        ('"-5"', "is no amount"),
        ("-5", "is no amount"),
        ('"2500 WETH"', "the amount is in WETH, but this key is in USDC"),
        ('"0.0000001"', "more than 6 decimal places"),
        ('"100000.000001"', "max_trade may not exceed the capital of its lane"),
        ("1979-05-27", "an amount is a decimal number in quotes"),
    ],
)
def test_money_that_is_not_exact_is_refused_with_its_place(written: str, sentence: str) -> None:
    found = faults(changed('max_trade = "10000 USDC"', f"max_trade = {written}"))
    assert any(line.startswith("books.toml [books.paper-main.limits.fast]: ") and sentence in line for line in found)


@pytest.mark.parametrize(
    ("old", "new", "place", "sentence"),
    [
        ("level = 6", "levle = 6", "books.paper-main", "unknown key 'levle'; did you mean 'level'?"),
        ("level = 6", "levle = 6", "books.paper-main", "the key 'level' is missing"),
        ("level = 6", "level = 11", "books.paper-main", "level: Input should be less than or equal to 10"),
        ("level = 6", "level = 6.0", "books.paper-main", "level must be a whole number, not 6.0"),
        ("level = 6", 'level = "6"', "books.paper-main", "level must be a whole number, not '6'"),
        ("chain_id = 1", "chain_id = true", "books.paper-main", "chain_id must be a whole number, not True"),
        ('mode = "paper"', 'mode = "papr"', "books.paper-main", "mode is 'live' or 'paper', not 'papr'"),
        ("enabled = true", 'enabled = "yes"', "books.paper-main", "enabled is true or false"),
        ('quote = "USDC"', 'quote = "DAI"', "books.paper-main", "the quote token 'DAI' is not known on chain 1"),
        ('["price_gap", "momentum"]', "[]", "books.paper-main", "strategies must be a list of names"),
        ('["price_gap", "momentum"]', '["Price Gap"]', "books.paper-main", "'Price Gap' is no known strategy"),
        ('["price_gap", "momentum"]', '["momentun"]', "books.paper-main", "did you mean 'momentum'?"),
        ('["price_gap", "momentum"]', "[3, {}]", "books.paper-main", "3 is no known strategy"),
        ('["price_gap", "momentum"]', '["momentum", "momentum"]', "books.paper-main", "names one strategy twice"),
        ("stop_loss_bps = 150", "stop_los_bps = 150", "books.paper-main.exits", "did you mean 'stop_loss_bps'?"),
        ("stop_loss_bps = 150", "stop_loss_bps = 0", "books.paper-main.exits", "greater than or equal to 1"),
        ("max_open_positions = 10", "max_open_positions = 1.5", "books.paper-main.limits.fast", "whole number"),
        ("limits.fast]", "limits.quick]", "books.paper-main.limits", "'quick' is no lane"),
        ('"0.05 ETH"', '"0.05 USDC"', "books.paper-main", "gas_reserve: the amount is in USDC"),
        ('profile = "moderate"', 'profile = "wild"', "books.paper-main", "profile: Input should be 'conservative'"),
        ("slippage_tolerance_bps = 50", "slippage_tolerance_bps = 5000", "books.paper-main", "less than or equal"),
    ],
)
def test_every_fault_is_named_with_file_table_and_key(old: str, new: str, place: str, sentence: str) -> None:
    found = faults(changed(old, new))
    assert any(line.startswith(f"books.toml [{place}]: ") and sentence in line for line in found), found


def test_all_faults_are_told_at_once() -> None:
    text = changed("max_age_s = 600", "max_age = 600").replace('capital = "100000 USDC"', "capital = 25.5")
    assert len(faults(text)) == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the key 'books' is missing"),
        ("books = 3", "'books' must be a table"),
        ("[books]\nmain = 3", "'main' must be a table"),
        ("[book.main]", "did you mean 'books'?"),
        ("[books]", "there is no book"),
        ("= 3", "is no valid TOML"),
    ],
)
def test_files_without_books_are_refused(text: str, sentence: str) -> None:
    assert any(sentence in line for line in faults(text))


CONTROLS = """
[books.paper-main.controls]
max_token_bps = "off"
max_chain_bps = 800
without_reference = "shrink"
min_quote_balance = "12.5 USDC"
caps = [{ good_trades = 0, usd = 10 }, { good_trades = 50, usd = 50 }]
"""


def test_controls_are_the_usual_ones_with_what_the_table_says_instead() -> None:
    book = parse(PAPER + CONTROLS)["paper-main"]
    said = {"max_token_bps": None, "max_chain_bps": 800, "min_quote_balance": 12_500_000}
    assert book.controls == Controls(
        without_reference=WithoutReference.SHRINK, caps=caps_of([(0, 10), (50, 50)]), **said
    )
    assert parse(PAPER)["paper-main"].controls is None


def test_a_book_that_says_nothing_has_the_usual_controls_of_its_mode() -> None:
    book = parse(PAPER)["paper-main"]
    assert book.controls_in_force == USUAL_PAPER_CONTROLS
    live = book.model_copy(update={"mode": Mode.LIVE})
    assert live.controls_in_force == USUAL_LIVE_CONTROLS
    assert [(step.good_trades, step.usd) for step in live.controls_in_force.caps] == [
        (0, 10),
        (50, 50),
        (200, 100),
        (500, 500),
    ]
    assert live.controls_in_force.max_daily_loss_usd == 50


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("max_tokn_bps = 5", "did you mean 'max_token_bps'?"),
        ("max_token_bps = 0", "max_token_bps: Input should be greater than or equal to 1"),
        ("max_token_bps = true", "max_token_bps: Input should be a valid integer"),
        ("duplicate_blocks = 65", "less than or equal to 64"),
        ('without_reference = "guess"', "Input should be 'refuse' or 'shrink'"),
        ("min_quote_balance = 0.5", "a float cannot hold every amount of money"),
        ("caps = [{ good_trades = 5, usd = 10 }]", "the first step of caps holds from 0 good trades on"),
        ("caps = [{ trades = 5 }]", "caps.0.good_trades: Field required"),
    ],
)
def test_faults_of_controls_are_named_with_their_place(line: str, sentence: str) -> None:
    found = faults(f"{PAPER}\n[books.paper-main.controls]\n{line}\n")
    assert any("[books.paper-main.controls]: " in one and sentence in one for one in found), found


@pytest.mark.parametrize(
    "controls",
    [Controls(), parse(PAPER + CONTROLS)["paper-main"].controls, USUAL_LIVE_CONTROLS, Controls(collar_bps=None)],
)
def test_written_controls_are_read_back_as_they_were(controls: Controls) -> None:
    book = parse(PAPER)["paper-main"].model_copy(update={"controls": controls})
    text = with_book(PAPER, book, roles=ROLES)
    assert parse(text)["paper-main"] == book


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BooksFileError, match=r"copy books\.example\.toml there"):
        load_books(tmp_path / "books.toml", roles=ROLES)


def test_paper_accounts_follow_from_book_and_lane() -> None:
    book = parse(PAPER)["paper-main"]
    assert book.accounts == {lane: paper_account("paper-main", lane) for lane in Lane}
    assert paper_account("paper-main", Lane.FAST) != paper_account("paper-two", Lane.FAST)


def test_live_accounts_are_addresses_or_roles() -> None:
    text = default_books_text().replace('smart = "live-smart"', f'smart = "{"0x" + "C3" * 20}"')
    assert parse(text)["live-devnet"].accounts == {Lane.FAST: "0x" + "a1" * 20, Lane.SMART: "0x" + "c3" * 20}


def test_a_live_book_without_accounts_is_refused() -> None:
    found = faults(changed('mode = "paper"', 'mode = "live"'))
    assert len(found) == 1
    assert "a live book needs a table [books.paper-main.accounts] with one account for each lane" in found[0]


def test_unknown_roles_are_refused_with_the_known_ones() -> None:
    found = faults(default_books_text().replace('"live-fast"', '"live-quick"'))
    assert len(found) == 1
    assert "[books.live-devnet.accounts]: 'live-quick' is neither an address nor a known role" in found[0]
    assert "(roles: live-fast, live-smart)" in found[0]


def test_a_role_is_no_account_of_a_paper_book() -> None:
    found = faults(PAPER + '\n[books.paper-main.accounts]\nfast = "live-fast"\nsmart = "live-smart"\n')
    assert len(found) == 2
    assert "leave accounts out" in found[0]


def test_two_books_may_not_share_an_account() -> None:
    second = default_books_text().split("[books.live-devnet]")[1].replace("live-devnet", "live-two")
    found = faults(default_books_text() + "\n[books.live-two]" + second)
    assert len(found) == 2
    assert "belongs to book 'live-devnet' already" in found[0]


def test_a_declared_token_can_be_the_quote() -> None:
    token = '[tokens.DAI]\nchain_id = 1\naddress = "0x6b175474e89094c44da98b954eedeac495271d0f"\ndecimals = 18\n'
    book = parse(token + PAPER.replace("USDC", "DAI"))["paper-main"]
    assert book.quote.decimals == 18
    assert book.limits[Lane.FAST].capital == 100_000 * 10**18


def test_a_known_symbol_cannot_be_given_another_address() -> None:
    token = f'[tokens.USDC]\nchain_id = 1\naddress = "{"0x" + "9" * 40}"\ndecimals = 6\n'
    assert any("another token needs another name" in line for line in faults(token + PAPER))


def test_digest_ignores_comments_and_layout_but_not_values(tmp_path: Path) -> None:
    path = tmp_path / "books.toml"
    seen = []
    for text in (PAPER, "# note\n" + PAPER.replace(" = ", "   = "), changed("level = 6", "level = 7")):
        path.write_text(text)
        seen.append(load_books(path, roles=ROLES).digest)
    assert seen[0] == seen[1] != seen[2]


RELAYS = "\n[books.paper-main.relays]\n"


def test_a_book_without_a_word_about_relays_trades_in_public_and_looks_as_it_did_before_there_were_any() -> None:
    book = parse(PAPER)["paper-main"]
    assert book.relays == DEFAULT_RELAY_RULES
    assert book.relays.policy is RelayPolicy.PUBLIC
    assert "relays" not in book.model_dump(mode="json")


def test_relay_rules_are_read_and_what_is_left_out_has_its_default() -> None:
    text = PAPER + RELAYS + 'policy = "private_only"\nexits_public_after_blocks = "never"\nsandwich_limit = "0.5 ETH"\n'
    assert parse(text)["paper-main"].relays == RelayRules(
        policy=RelayPolicy.PRIVATE_ONLY, sandwich_limit_wei=5 * 10**17, exits_public_after_blocks=None
    )
    assert parse(PAPER + RELAYS + "exits_public_after_blocks = 0\n")["paper-main"].relays.exits_public_after_blocks == 0


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('policy = "secret"', "policy: Input should be 'public', 'private_when_worth' or 'private_only'"),
        ("sandwich_limit = 0.1", "a float cannot hold every amount of money"),
        ('sandwich_limit = "1 USDC"', "the amount is in USDC"),
        ('exits_public_after_blocks = "soon"', "exits_public_after_blocks must be a whole number"),
        ("exits_public_after_blocks = -1", "greater than or equal to 0"),
        ('polcy = "public"', "did you mean 'policy'?"),
    ],
)
def test_relay_rules_that_cannot_be_meant_are_refused_with_their_place(line: str, sentence: str) -> None:
    told = faults(PAPER + RELAYS + line + "\n")
    assert any(sentence in fault and "[books.paper-main.relays]" in fault for fault in told)


@st.composite
def books(draw: st.DrawFn) -> Book:
    base = parse(default_books_text())[draw(st.sampled_from(["paper-main", "live-devnet"]))]
    capital = draw(st.integers(0, 10**15))
    limits = base.limits[Lane.FAST].model_copy(
        update={"capital": capital, "max_trade": draw(st.integers(0, capital)), "max_daily_loss": capital // 3}
    )
    exits = base.exits.model_copy(
        update={"max_age_s": draw(st.none() | st.integers(1, 10**6)), "flagged_tokens": draw(st.booleans())}
    )
    changes = {
        "level": draw(st.integers(1, 10)),
        "limits": {Lane.FAST: limits, Lane.SMART: base.limits[Lane.SMART]},
        "exits": exits,
        "gas_reserve_wei": draw(st.integers(0, 10**21)),
        "enabled": draw(st.booleans()),
        "relays": RelayRules(
            policy=draw(st.sampled_from(RelayPolicy)),
            sandwich_limit_wei=draw(st.integers(0, 10**19)),
            exits_public_after_blocks=draw(st.none() | st.integers(0, 1_000)),
        ),
    }
    return base.model_copy(update=changes)


@given(book=books())
def test_a_rendered_book_reads_back_as_itself(book: Book) -> None:
    assert parse(render_book(book, roles=ROLES)) == {book.id: book}


@given(book=books())
def test_replacing_a_book_keeps_the_others_and_their_comments(book: Book) -> None:
    text = with_book(default_books_text(), book, roles=ROLES)
    before = parse(default_books_text())
    assert parse(text) == {**before, book.id: book}
    assert "# ---------------------------------------------------------------- other quote tokens" in text


def test_adding_a_book_appends_it() -> None:
    book = parse(PAPER)["paper-main"]
    second = book.model_copy(
        update={"id": "paper-two", "accounts": {lane: paper_account("paper-two", lane) for lane in Lane}}
    )
    text = with_book(default_books_text(), second, roles=ROLES)
    assert text.startswith(default_books_text().rstrip("\n"))
    assert set(parse(text)) == {"paper-main", "paper-two", "live-devnet"}
    assert with_book(text, second, roles=ROLES) == text


def test_adding_a_book_to_nothing_makes_a_file(tmp_path: Path) -> None:
    book = parse(PAPER)["paper-main"]
    write_book(tmp_path / "books.toml", book, roles=ROLES)
    assert load_books(tmp_path / "books.toml", roles=ROLES).books == (book,)
    assert [entry.name for entry in tmp_path.iterdir()] == ["books.toml"]


def test_adding_a_book_with_an_undeclared_quote_declares_it() -> None:
    token = '[tokens.DAI]\nchain_id = 1\naddress = "0x6b175474e89094c44da98b954eedeac495271d0f"\ndecimals = 18\n'
    book = parse(token + PAPER.replace("USDC", "DAI").replace("paper-main", "paper-dai"))["paper-dai"]
    assert parse(with_book(PAPER, book, roles=ROLES))["paper-dai"] == book


def test_a_layout_that_cannot_be_edited_is_left_alone() -> None:
    document = tomllib.loads(PAPER)["books"]["paper-main"]

    def inline(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {inline(inner)}" for key, inner in value.items()) + "}"
        return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')

    text = f"[books]\npaper-main = {inline(document)}\n"
    book = parse(text)["paper-main"]
    with pytest.raises(BooksFileError):
        with_book(text, book.model_copy(update={"level": 2}), roles=ROLES)


def test_of_two_writers_neither_loses_what_the_other_wrote(tmp_path: Path) -> None:
    path = tmp_path / "books.toml"
    path.write_text(default_books_text())
    (like,) = [book for book in load_books(path, roles=ROLES).books if book.id == "paper-main"]
    names = [f"paper-{number}" for number in range(6)]

    def add(name: str) -> None:
        accounts = {lane: paper_account(name, lane) for lane in like.accounts}
        write_book(path, like.model_copy(update={"id": name, "accounts": accounts}), roles=ROLES)

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(add, names))
    assert {book.id for book in load_books(path, roles=ROLES).books} >= set(names)


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "books.toml"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_text(path, "new")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("books.toml", "old")]


def test_a_link_to_the_books_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "books.toml"
    real.write_text(default_books_text())
    link.symlink_to(real)
    (like,) = [book for book in load_books(link, roles=ROLES).books if book.id == "paper-main"]
    write_book(link, like.model_copy(update={"level": 2}), roles=ROLES)
    assert link.is_symlink()
    assert "level = 2" in real.read_text()
