"""A real manager pushes its figures to a collector."""

import pytest
from collector import Collector
from stand import Stand, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_a_manager_pushes_what_prometheus_would_see(stand: Stand):
    collector = Collector()
    stand.settings = f'[workers]\ncount = 1\n[telemetry]\nendpoint = "{collector.url}"\n'
    stand.start_manager()
    values = wait_for(collector.values, "a push arrives")
    collector.close()
    assert values["hids_ledger_readable"] == {(): 1}
    assert values["hids_actor_running"][("actor", "lane"),] == 1
    wait_for(lambda: stand.nodes()["exports"]["facts"] == {"done": 1, "failing": ""}, "it is told what was done")
