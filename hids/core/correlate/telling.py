"""Telling: what is decided becomes alerts, numbered and counted.

State    the next alert's number and how often each rule has fired; both are in the ledger, and recalled at the start.
"""

from collections import Counter
from collections.abc import Callable, Mapping

from hids.core.correlate.alert import compose
from hids.core.correlate.correlator import Decision
from hids.core.correlate.expectations import Sender
from hids.core.correlate.incidents import Incidents
from hids.core.correlate.occurrence import Occurrence
from hids.messages.evaluation import EventOut
from hids.messages.rule_table import RuleRow, RuleTable


class Told:
    """What comes out of one message: alerts, and what is counted."""

    def __init__(self) -> None:
        self.alerts: list[bytes] = []
        self.fired: dict[str, int] = {}
        """Rule identity -> times fired so far."""
        self.counts: Counter[str] = Counter()


class Teller:
    """Numbers alerts and writes them."""

    def __init__(
        self,
        incidents: Incidents,
        fired: Mapping[str, int],
        next_alert: int,
        log_level: int,
        timestamp: Callable[[int], str],
    ) -> None:
        """`timestamp` writes an event time in the manager's zone."""
        self._timestamp = timestamp
        self._incidents = incidents
        self._fired = dict(fired)
        self._number = next_alert
        self._log_level = log_level

    def conclude(
        self,
        told: Told,
        sender: Sender,
        table: RuleTable,
        event: EventOut,
        decision: Decision,
        *,
        name: str,
        wanted: bool = True,
    ) -> bool:
        """Count that a rule fired, and write its alert.

        Args:
            told: takes both.
            sender: the batch that the event came in.
            table: the rules that the decision's numbers mean.
            event: what was decided about.
            decision: one rule that it fulfils.
            name: the alert's id.
            wanted: False: it only counts, another rule speaks for the event.

        Returns:
            Whether there is an alert.
        """
        counted = table.rules[decision.result].identity
        self._fired[counted] = told.fired[counted] = self._fired.get(counted, 0) + 1
        if decision.silent:
            told.counts["ignored"] += 1
        row = table.rules[decision.rule]
        wanted = wanted and not decision.silent and self._is_told(row)
        incident = None
        if row.window is not None:
            incident = self._incidents.join(decision.rule, Occurrence(table, event, sender.agent.id), name, told=wanted)
        if wanted:
            alert = compose(
                sender,
                event,
                row,
                ruleset=table.name,
                name=name,
                number=self._number,
                fired=self._fired.get(row.identity, 0),
                timestamp=self._timestamp(event.at_ms),
                previous=decision.previous,
                previous_log=decision.previous_log,
                description=dict(event.descriptions).get(decision.rule, b'""') if row.middle else b"",
                incident=incident,
            )
            told.alerts.append(alert)
            self._number += 1
        return wanted

    def _is_told(self, row: RuleRow) -> bool:
        return row.level > 0 and row.log >= 0 and (row.log > 0 or row.level >= self._log_level)
