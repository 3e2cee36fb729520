"""How fast an output over the network catches up: alerts a second, and CPU time an alert, for each form of syslog and for mail.

    python tools/bench_outputs.py [alerts]

The alerts are those of bench_index, committed to a real ledger before; the other side is on 127.0.0.1, and takes everything.
"""

import asyncio
import socketserver
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench_index import rows

from hids.actors.sender import Sender
from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.adapters.ledger import Ledger
from hids.adapters.outbox import Outbox
from hids.adapters.outputs.kinds import Site, destination_of
from hids.adapters.outputs.store import OutputStore
from hids.core.outputs import AnyOutput, Email, SyslogOutput
from hids.messages.outputs import Cursors, Outboxed
from hids.ports import Group

ROW_ALERTS = 500


class _Swallow(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while self.request.recv(1 << 20):
            pass


async def catch_up(folder: Path, output: AnyOutput, alerts: int) -> tuple[float, float]:
    """Send all; returns the seconds and the CPU seconds that it took."""
    clock, mailbox, done = SystemClock(), Mailbox(output.output), asyncio.Event()
    store = OutputStore(folder, Outbox(folder / "ledger.db"), output, clock)
    destination = destination_of(output, Site(folder, clock, store.set_aside))

    def moved(cursors: Cursors) -> None:
        if cursors.positions[output.output] == alerts:
            done.set()

    began, cpu = time.perf_counter(), time.thread_time()
    Sender.start(mailbox, store, destination, moved)
    mailbox.tell(Outboxed(alerts + 1))
    await done.wait()
    took = time.perf_counter() - began, time.thread_time() - cpu
    mailbox.shut_down()
    await asyncio.sleep(0)
    await destination.close()
    return took


def main() -> None:
    """Measure each."""
    alerts = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name, socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Swallow) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        folder, address = Path(name), f"127.0.0.1:{server.server_address[1]}"
        ledger = Ledger(folder / "ledger.db")
        for row in rows(alerts, ROW_ALERTS):
            ledger.commit(Group(alerts=row.lines.splitlines(keepends=True)), row.first)
        ledger.close()
        outputs: list[AnyOutput] = [
            SyslogOutput(server=address, protocol="tcp", format=form, name=form)
            for form in ("default", "cef", "leef", "json", "splunk")
        ]
        outputs.append(SyslogOutput(server=address, protocol="tcp", format="json", name="json-1000", batch=1000))
        outputs.append(Email(to=("a@example.org",), sender="b@example.org", mode="digest", urgent=17))
        for output in outputs:
            seconds, cpu_s = asyncio.run(catch_up(folder, output, alerts))
            print(
                f"{output.output:20} {alerts / seconds:8,.0f} alerts/s {cpu_s / alerts * 1e6:6.1f} us of CPU an alert"
            )
        server.shutdown()


if __name__ == "__main__":
    main()
