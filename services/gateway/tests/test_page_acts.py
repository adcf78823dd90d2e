"""Rules of what the page does: its scripts in Node.js, on a small document, against a real gateway on loopback."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Awaitable, Callable
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from dexlane.domain.levels import LEVELS
from dexlane.events.confirmations import ConfirmationRequested
from dexlane.testing.builders import (
    USDC,
    WETH,
    a_block,
    a_confirmation_request,
    a_gap_route,
    a_plan,
    a_pool_v2,
    a_pool_v3,
    a_route,
)
from dexlane.values.routes import PlannedPath

if TYPE_CHECKING:
    from conftest import Gateway, Make

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not here")
STATIC = Path(__file__).parents[1] / "src" / "gateway" / "static"
REQUEST = a_confirmation_request()
Page = Callable[[str], Awaitable[Any]]


class _Tree(HTMLParser):
    """A document as [tag, attributes, children]."""

    VOID = frozenset({"meta", "link", "img", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[list[Any]] = [["#root", {}, []]]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node: list[Any] = [tag, {name: value or "" for name, value in attrs}, []]
        self.open[-1][2].append(node)
        if tag not in self.VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag, f"{tag} is closed and was not open"

    def handle_data(self, data: str) -> None:
        self.open[-1][2].append(data)


@pytest_asyncio.fixture
async def page(gateway: Gateway, serve: Make, tmp_path: Path) -> Page:
    """Runs the page on the gateway's own answers, then steps in JavaScript with the tools of ``page_in_node.mjs``."""
    scripts = shutil.copytree(STATIC, tmp_path / "page")
    (scripts / "package.json").write_text('{"type": "module"}')
    (body,) = _Tree((STATIC / "index.html").read_text()).open

    async def run(steps: str) -> Any:
        driver, script = Path(__file__).with_name("page_in_node.mjs"), str(scripts / "page.js")
        node = await asyncio.create_subprocess_exec(
            *("node", str(driver), script, await serve(gateway), json.dumps(body), steps),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            told, problem = await asyncio.wait_for(node.communicate(), 60)
        finally:
            if node.returncode is None:
                node.kill()
        assert node.returncode == 0, problem.decode()
        return json.loads(told)

    return run


async def waiting(gateway: Gateway, *requests: ConfirmationRequested) -> None:
    gateway.desk.display.picture.tokens.learn(1, (USDC, WETH))
    gateway.desk.display.show(a_block(100))
    await gateway.archive(*(requests or (REQUEST,)))


OPEN_LEVEL = """
await press(keyed("level-paper-main"));
const slider = byId("level");
await until(() => byId("dialog-extra").querySelectorAll("tr").length > 0, "the levels are shown");
const slide = async (level) => { slider.value = String(level); await slider.emit("input"); };
const cells = ({ children: [name, ...values] }) => [text(name), values.map(text)];
const rows = () => Object.fromEntries(byId("dialog-extra").querySelectorAll("tr").slice(1).map(cells));
const marked = () => byId("dialog-extra").querySelectorAll("mark").map(text);
"""


async def test_a_level_is_set_where_what_it_allows_is_seen(page: Page, gateway: Gateway) -> None:
    told = await page(
        OPEN_LEVEL
        + """
        await slide(3);
        const seen = { rows: rows(), marked: marked(), told: text(byId("dialog-extra").querySelector("output")) };
        await submit("");
        await until(() => text(keyed("level-paper-main")) === "level 3", "level 3 is drawn");
        return { ...seen, open: byId("dialog").open, sent: asked.filter((one) => one.method === "PUT") };
        """
    )
    assert told["rows"]["Risk score"] == ["up to 50 of 100", "up to 30 of 100"]
    assert told["rows"]["Confidence"] == ["from 65 %", "from 80 %"]
    assert told["rows"]["Largest entry"] == [
        "6 % of the lane's capital: fast 6,000 USDC, smart 6,000 USDC",
        "3 % of the lane's capital: fast 3,000 USDC, smart 3,000 USDC",
    ]
    assert told["rows"]["Lanes"] == ["fast, smart"] * 2
    assert told["rows"]["Checks"] == ["all but lp shares, bytecode", "all but lp shares"]
    assert told["rows"]["Relays"] == ["public", "private when worth"]
    assert told["rows"]["Fee tier, smart"] == ["balanced", "cost efficient"]
    assert told["rows"]["Oldest chance"] == ["60 s", "24 s"]
    assert told["marked"] == [then for now, then in told["rows"].values() if now != then]
    assert told["told"] == f"Level 3 instead of 6: {len(told['marked'])} rules differ, marked below."
    (sent,) = told["sent"]
    assert sent["path"] == "/api/v1/books/paper-main"
    assert sent["body"] == {"level": 3, "expected_version": 1}
    assert not told["open"]
    assert gateway.desk.books.get("paper-main").book.level == 3


async def test_every_level_is_shown_as_it_is_published(page: Page, gateway: Gateway) -> None:
    told = await page(
        OPEN_LEVEL
        + """
        const all = {};
        for (let level = 1; level <= 10; level += 1) {
          await slide(level);
          all[level] = { rows: rows(), can: !byId("dialog-confirm").disabled };
        }
        const { type, min, max, step, parent } = slider;
        const ticks = byId(slider.getAttribute("list")).children.map((one) => one.getAttribute("value"));
        return { all, range: [type, min, max, step], label: parent.tag, ticks };
        """
    )
    assert told["range"] == ["range", "1", "10", "1"]
    assert (told["label"], told["ticks"]) == ("label", [str(level) for level in LEVELS])
    limits = gateway.desk.books.get("paper-main").book.limits
    for number, level in LEVELS.items():
        shown = {name: cells[-1] for name, cells in told["all"][str(number)]["rows"].items()}
        assert shown["Risk score"] == f"up to {level.max_risk_score} of 100"
        assert shown["Largest entry"].startswith(f"{level.position_bps // 100} % of the lane's capital: fast")
        most = [
            min(limits[lane].capital * level.position_bps // 10_000, limits[lane].max_trade) for lane in level.lanes
        ]
        amounts = re.findall(r"([0-9,.]+) USDC", shown["Largest entry"])
        assert [Decimal(amount.replace(",", "")) * 10**6 for amount in amounts] == most
        assert shown["Lanes"] == ", ".join(level.lanes)
        assert shown["Fee tier, smart"] == (
            level.entry_tiers["smart"].replace("_", " ") if "smart" in level.lanes else "none"
        )
        assert told["all"][str(number)]["can"] is (number != 6), "the present level is not set again"


async def test_a_refusal_stands_in_the_dialog_in_words_and_what_was_chosen_stays(page: Page, gateway: Gateway) -> None:
    told = await page(
        OPEN_LEVEL
        + """
        await slide(3);
        const problems = [];
        const attempt = async (token) => { await submit("", token); problems.push(text(byId("dialog-problem"))); };
        await attempt("wrong");
        network.away = true;
        await attempt();
        network.away = false;
        slider.value = "11";
        await attempt();
        slider.value = "3";
        await fetch("/api/v1/books/paper-main", { method: "PUT", body: '{"level": 5}',
          headers: { "Content-Type": "application/json", Authorization: `Bearer ${"t".repeat(43)}` } });
        await attempt();
        return { problems, open: byId("dialog").open, chosen: slider.value };
        """
    )
    wrong, away, invalid, changed = told["problems"]
    assert wrong.startswith("This is not the token.")
    assert away.startswith("The gateway does not answer.")
    assert invalid.startswith("level: Input should be less than or equal to 10")
    assert changed.startswith("book 'paper-main' is at version 2 now, not 1; read it again")
    assert (told["open"], told["chosen"]) == (True, "3")
    assert gateway.desk.books.get("paper-main").book.level == 5


async def test_no_level_is_set_unseen(page: Page) -> None:
    told = await page("""
        network.away = true;
        await press(keyed("level-paper-main"));
        byId("level").value = "3";
        await byId("level").emit("input");
        await until(() => text(byId("dialog-problem")), "the problem is shown");
        return { problem: text(byId("dialog-problem")), disabled: byId("dialog-confirm").disabled };
    """)
    assert told["problem"].startswith("What the levels allow could not be read. The gateway does not answer.")
    assert told["disabled"]


async def test_who_works_with_the_keyboard_stays_where_they_are(page: Page) -> None:
    told = await page("""
        const overview = await answer("/overview");
        keyed("level-paper-main").focus();
        const first = document.activeElement;
        say("overview", overview);
        const second = document.activeElement;
        await during("keydown");
        say("overview", overview);
        const pressed = document.activeElement === second;
        await during("keyup");
        await press(second);
        say("overview", overview);
        const inDialog = byId("dialog").contains(document.activeElement);
        await press(byId("dialog-cancel"));
        return { redrawn: first !== second, same: first.dataset.key === second.dataset.key, pressed, inDialog,
          back: document.activeElement.dataset.key };
    """)
    assert told == {"redrawn": True, "same": True, "pressed": True, "inDialog": True, "back": "level-paper-main"}


PRESS_HALT = """
    await press(document.querySelectorAll("button").find((one) => one.dataset.action === "halted"));
    await submit("fire");
    const again = !byId("dialog-confirm").disabled;
    const told = { open: byId("dialog").open, problem: text(byId("dialog-problem")), again };
"""


async def test_a_halt_that_everybody_confirmed_closes_the_dialog(page: Page) -> None:
    told = await page(f"{PRESS_HALT} return {{ ...told, alarm: byId('alarms').hidden }};")
    assert told == {"open": False, "problem": "", "again": False, "alarm": True}


async def test_a_halt_that_a_signer_did_not_confirm_stays_open_and_stands_on_the_page(
    page: Page, gateway: Gateway, tmp_path: Path
) -> None:
    gateway.desk.paths._signers = (tmp_path / "nobody",)
    told = await page(
        PRESS_HALT
        + """
        say("overview", await answer("/overview"));
        await press(byId("dialog-cancel"));
        return { ...told, alarm: byId("alarms").hidden ? "" : text(byId("alarms")) };
        """
    )
    assert (told["open"], told["again"]) == (True, True)
    assert told["problem"].startswith("HALTED, BUT NOT EVERYWHERE. Confirmed by bus. Not confirmed: ")
    assert str(tmp_path / "nobody") in told["problem"]
    assert "touch HALT" in told["alarm"]


PRESS_RESUME = """
    await press(document.querySelectorAll("button").find((one) => one.dataset.action === "resume"));
    const shown = text(byId("dialog-extra"));
"""


async def test_a_resume_shows_what_it_releases_and_releases_nothing_else(page: Page, gateway: Gateway) -> None:
    await gateway.post("/halt", {"scope": "reducing", "reason": "a drill"})
    told = await page(
        PRESS_RESUME
        + """
        await elsewhere("/halt", { scope: "halted", reason: "fire" });
        say("overview", await answer("/overview"));
        await submit("the drill is over");
        return { shown, open: byId("dialog").open, problem: text(byId("dialog-problem")) };
        """
    )
    assert told["shown"] == "reducing on chain 1: a drill"
    assert told["open"]
    assert "operator on chain 1 says halted (version 3): fire" in told["problem"]


async def test_what_was_shown_is_released(page: Page, gateway: Gateway) -> None:
    await gateway.post("/halt", {"scope": "reducing", "reason": "a drill"})
    told = await page(f"{PRESS_RESUME} await submit('over'); return {{ shown, open: byId('dialog').open }};")
    assert told == {"shown": "reducing on chain 1: a drill", "open": False}
    assert (await gateway.get("/status"))[0]["effective"] == "active"


async def test_nothing_is_shown_where_nothing_waits(page: Page) -> None:
    assert await page('return [byId("waiting").hidden, document.title];') == [True, "dexlane"]


async def test_what_waits_is_shown_to_the_last_unit_with_why_and_how_long(page: Page, gateway: Gateway) -> None:
    await waiting(gateway)
    told = await page("""
        await until(() => !byId("waiting").hidden, "it is shown");
        const before = text(byId("waiting"));
        const overview = await answer("/overview");
        overview.chains[0].block.number += 1;
        say("overview", overview);
        const later = text(byId("waiting"));
        overview.chains[0].block.number += 1;
        say("overview", overview);
        return { before, later, over: byId("waiting").hidden, title: document.title };
    """)
    plan = REQUEST.plan
    least, quoted = (
        f"{amount // 10**18}.{amount % 10**18:018d}".rstrip("0") for amount in (plan.minimum_out, plan.quoted_out)
    )
    assert f"Pay 1,000 USDC, buy at least {least} WETH (quoted: {quoted} WETH)" in told["before"]
    assert f"Token {WETH.address}, through 1 pool on chain 1" in told["before"]
    assert f"Asked because {REQUEST.reasons[0]}" in told["before"]
    for word in (REQUEST.book_id, "paper", "fast", "momentum", "(1)"):
        assert word in told["before"]
    assert "2 blocks left, until block 102" in told["before"]
    assert "1 block left, until block 102" in told["later"]
    assert told["over"], "from the deadline block on no block is left"
    assert told["title"] == "dexlane"


async def test_of_an_unknown_token_smallest_units_are_shown(page: Page, gateway: Gateway) -> None:
    gateway.desk.display.show(a_block(100))
    await gateway.archive(REQUEST)
    shown = await page('await until(() => !byId("waiting").hidden); return text(byId("waiting"));')
    assert f"buy at least {REQUEST.plan.minimum_out:,} smallest units of {WETH.address}" in shown


@pytest.mark.parametrize(("word", "pressed"), [("confirm", "Confirm"), ("decline", "Decline")])
async def test_an_answer_takes_a_reason_and_what_was_answered_vanishes(
    page: Page, gateway: Gateway, word: str, pressed: str
) -> None:
    await waiting(gateway)
    told = await page(f"""
        await until(() => !byId("waiting").hidden, "it is shown");
        await press(byId("waiting").querySelectorAll("button").find((one) => one.textContent === "{pressed}"));
        const {{ required }} = byId("reason"), {{ hidden }} = byId("reason-row");
        const dialog = {{ title: text(byId("dialog-title")), required, hidden }};
        await submit("looked at it");
        await until(() => byId("waiting").hidden, "it vanishes");
        return {{ dialog, sent: asked.filter((one) => one.method === "POST"), open: byId("dialog").open }};
    """)
    assert told["dialog"] == {"title": f"{pressed} a trade of {REQUEST.book_id}", "required": True, "hidden": False}
    assert told["sent"] == [
        {"method": "POST", "path": f"/api/v1/confirmations/{REQUEST.id}/{word}", "body": {"reason": "looked at it"}}
    ]
    assert not told["open"]
    (one,) = await gateway.get("/confirmations", all=True)
    assert (one["state"], one["reason"]) == (f"{word.removesuffix('e')}ed", "looked at it")


async def test_what_is_told_is_read_anew_at_most_once_a_second(page: Page, gateway: Gateway) -> None:
    await waiting(gateway)
    told = await page(f"""
        await until(() => !byId("waiting").hidden, "it is shown");
        const reads = () => asked.filter((one) => one.path === "/api/v1/confirmations").length;
        const before = reads();
        await elsewhere("/confirmations/{REQUEST.id}/decline", {{ reason: "too odd" }});
        const from = Date.now();
        const end = {{ kind: "decision", at_ms: 1, outcome: "confirmation_declined", headline: "", reasons: [] }};
        for (let at = 0; at < 50; at += 1) {{
          say("confirmation.requested", {{}});
          say("feed", {{ id: `${{at}}`, ...end }});
        }}
        await until(() => byId("waiting").hidden, "it vanishes");
        say("confirmation.requested", {{}});
        await until(() => reads() === before + 2, "it is read once more");
        return {{ subscribed: socket.wish.subscribe, took: Date.now() - from }};
    """)
    assert "confirmation.requested" in told["subscribed"]
    assert told["took"] >= 990


async def test_a_request_that_ended_meanwhile_is_told_in_the_dialog(page: Page, gateway: Gateway) -> None:
    await waiting(gateway)
    problem = await page(f"""
        await until(() => !byId("waiting").hidden, "it is shown");
        await press(byId("waiting").querySelectorAll("button")[0]);
        await elsewhere("/confirmations/{REQUEST.id}/decline", {{ reason: "too odd" }});
        await submit("looked at it");
        return text(byId("dialog-problem"));
    """)
    assert problem == "this request is declined: too odd"


async def test_gaps_splits_and_native_coin_are_said_as_what_they_are(page: Page, gateway: Gateway) -> None:
    ether = a_plan(native_out=True, quoted_out=2 * 10**18, minimum_out=10**18)
    gap = a_plan(route=a_gap_route(), quoted_out=1_003 * 10**6, minimum_out=1_001_500_001)
    halves = [a_route(a_pool_v2()), a_route(a_pool_v3())]
    paths = tuple(PlannedPath(route=half, amount_in=500 * 10**6, minimum_out=10**17) for half in halves)
    split = a_plan(split=paths, quoted_out=3 * 10**17, minimum_out=2 * 10**17)
    plans = {"native": ether, "gap": gap, "split": split}
    await waiting(gateway, *(a_confirmation_request(book_id=name, plan=plan) for name, plan in plans.items()))
    shown = await page("""
        await until(() => !byId("waiting").hidden);
        const cards = byId("waiting-list").children;
        return Object.fromEntries(cards.map((one) => [text(one.querySelector("h3")), text(one)]));
    """)
    assert "Pay 1,000 USDC, buy at least 1 ETH (quoted: 2 ETH)" in shown["native"]
    assert "Pay 1,000 USDC, get back at least 1,001.500001 USDC (quoted: 1,003 USDC)" in shown["gap"]
    assert "through 2 pools" in shown["gap"]
    assert "Pay 1,000 USDC, buy at least 0.2 WETH (quoted: 0.3 WETH)" in shown["split"]
    assert "through 2 pools" in shown["split"]
