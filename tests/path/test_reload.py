"""Rules that are changed while lines come: each line is judged once, by the old rules or by the new ones, never by some of both."""

import os
import re
import signal
import threading
from pathlib import Path

import pytest
from stand import Stand, wait_for

from hids.adapters.paths import shipped
from hids.errors import HidsError

PAUSE_S = 0.002
RULES_REFUSED = "206152"


def write_rules(folder: Path, version: int) -> None:
    """Decoder and rules bear the version, and stand in two files; the ids stay."""
    (folder / "decoders.xml").write_text(
        f'<decoder name="app-v{version}"><program_name>^app$</program_name></decoder>\n'
        f'<decoder name="app-v{version}-from"><parent>app-v{version}</parent>'
        r"<regex>(\d+) from (\S+)</regex><order>id, srcip</order></decoder>"
    )
    (folder / "rules.xml").write_text(
        '<group name="mine,">'
        f'<rule id="299001" level="5"><decoded_as>app-v{version}</decoded_as><match>^needle</match>'
        f"<description>v{version}</description></rule>"
        f'<rule id="299002" level="5"><decoded_as>app-v{version}</decoded_as><match>^guess</match>'
        f"<description>v{version}</description></rule>"
        '<rule id="299003" level="10" frequency="3" timeframe="3600"><if_matched_sid>299002</if_matched_sid>'
        f"<same_source_ip/><description>v{version}</description></rule></group>"
    )


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def lines(what: str, *numbers: int) -> str:
    return "".join(f"Nov 24 03:21:42 web1 app[7]: {what} {number} from 192.0.2.7\n" for number in numbers)


def test_rules_change_under_load_and_no_line_is_lost_or_judged_by_half_of_them(stand: Stand):
    rules = stand.folder / "rules"
    rules.mkdir()
    write_rules(rules, 1)
    stand.settings = f'[[ruleset]]\npath = "{rules}"\ndialect = "hids"\n'
    log = stand.folder / "app.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\n')
    wait_for(lambda: stand.ask("status")["agents_connected"] == 1, "the agent is connected")
    append(log, lines("guess", 1, 2))
    wait_for(lambda: stand.rules()["299002"] == 2, "two of three are counted")

    enough, written = threading.Event(), [0]

    def load() -> None:
        while not enough.wait(PAUSE_S):
            append(log, lines("needle", *range(written[0], written[0] + 20)))
            written[0] += 20

    writer = threading.Thread(target=load)
    writer.start()
    try:
        for version in (2, 3):
            told = stand.rules()["299001"]
            wait_for(lambda told=told: stand.rules()["299001"] > told + 200, "lines are judged")
            write_rules(rules, version)
            assert stand.ask("reload")["rulesets"]
        (rules / "rules.xml").write_text('<group name="mine,"><rule id="299001" level="high"/></group>')
        with pytest.raises(HidsError, match=r"the old ones stay in use:\n.*rules\.xml:1: .*level"):
            stand.ask("reload")
        told = stand.rules()["299001"]
        wait_for(lambda: stand.rules()["299001"] > told + 200, "lines are judged after the reloads")
    finally:
        enough.set()
        writer.join()
    append(log, lines("guess", 3))

    wait_for(lambda: stand.rules()["299003"] == 1, "what was counted before the reloads counts after them")
    wait_for(lambda: stand.rules()["299001"] >= written[0], "every line is judged")
    alerts = [alert for alert in stand.alerts() if alert["rule"]["id"] == "299001"]
    numbers = [int(alert["data"]["id"]) for alert in alerts]
    assert sorted(numbers) == list(range(written[0])), "each line once"
    versions = [
        (alert["decoder"].get("parent", alert["decoder"]["name"]), alert["rule"]["description"]) for alert in alerts
    ]
    assert {(re.sub(r"\D", "", decoder), re.sub(r"\D", "", rule)) for decoder, rule in versions} == {
        (version, version) for version in "123"
    }


def test_a_nursery_that_starts_while_somebody_edits_the_rules_goes_on_with_those_that_were_good(stand: Stand):
    rules = stand.folder / "rules"
    rules.mkdir()
    write_rules(rules, 1)
    stand.settings = "[workers]\ncount = 1\n" + "".join(
        f'[[ruleset]]\npath = "{path}"\ndialect = "hids"\n' for path in (rules, shipped("rules"))
    )
    log = stand.folder / "app.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    wait_for(lambda: stand.ask("status")["rulesets"], "the rules are loaded")
    (rules / "rules.xml").write_text('<group name="mine,"><rule id="299001" lev')
    os.kill(stand.pid_of("nursery"), signal.SIGKILL)
    append(log, lines("needle", 1))
    wait_for(lambda: stand.rules()["299001"] == 1, "the old rules judge")
    wait_for(lambda: stand.rules()[RULES_REFUSED] == 1, "it is an alert")
    told = next(alert["full_log"] for alert in stand.alerts() if alert["rule"]["id"] == RULES_REFUSED)
    assert f"{rules / 'rules.xml'}:1: " in told
    with pytest.raises(HidsError, match="the rulesets are refused, the old ones stay in use"):
        stand.ask("reload")
    assert stand.manager is not None
    stand.manager.kill()
    stand.start_manager()  # which must watch, too
    append(log, lines("needle", 2))
    wait_for(lambda: stand.rules()["299001"] == 2, "the old rules judge")
    write_rules(rules, 2)
    stand.ask("reload")
    append(log, lines("needle", 3))
    wait_for(lambda: stand.rules()["299001"] == 3, "the new rules judge")
    assert [alert["rule"]["description"] for alert in stand.alerts() if alert["rule"]["id"] == "299001"] == [
        "v1",
        "v1",
        "v2",
    ]
