"""Mails wait on disk until their server takes them; what never works is given up and said."""

from pathlib import Path

import pytest
from waiting import SetClock

from hids.adapters.mailspool import AT_MOST, WAIT_MS, MailSpool
from hids.errors import StoreError
from hids.ports import Mail


class Server:
    """A mailer that does as it is told."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []
        self.away = False
        self.refuses = ""

    def send(self, mail: Mail) -> str:
        if self.away:
            raise StoreError("mail.example.org:25: Connection refused")
        if not self.refuses:
            self.sent.append(mail)
        return self.refuses


class Bench:
    def __init__(self, folder: Path) -> None:
        self.clock = SetClock()
        self.server = Server()
        self.folder = folder / "mails"
        self.spool = MailSpool(self.folder, self.server, self.clock)

    def mail(self, name: str) -> Mail:
        return Mail(
            name, self.clock.now_ms(), ("a@example.org",), f"about {name}", "text", "<p>", {"p": b"\x89PNG\xff"}
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_it_waits_for_its_server_also_over_a_restart(bench: Bench):
    assert bench.spool.run() == []
    bench.server.away = True
    for name in ("report.a", "report.b"):
        bench.spool.add(bench.mail(name))
    with pytest.raises(StoreError, match=r"^2 wait: mail\.example\.org:25: Connection refused$"):
        bench.spool.run()
    bench.server.away = False
    assert MailSpool(bench.folder, bench.server, bench.clock).run() == []
    assert bench.spool.run() == []
    assert sorted(mail.id for mail in bench.server.sent) == ["report.a", "report.b"]
    assert bench.server.sent[0].pictures == {"p": b"\x89PNG\xff"}
    assert list(bench.folder.iterdir()) == []


def test_one_of_the_same_id_is_one_mail(bench: Bench):
    bench.spool.add(bench.mail("report.a"))
    bench.spool.add(bench.mail("report.a"))
    bench.spool.run()
    assert len(bench.server.sent) == 1


def test_what_is_refused_for_good_is_said(bench: Bench):
    bench.spool.add(bench.mail("report.a"))
    bench.server.refuses = "the server answers 554: spam"
    assert bench.spool.run() == ["report not mailed: about report.a: the server answers 554: spam"]
    assert bench.spool.run() == []


def test_after_a_week_it_is_given_up(bench: Bench):
    bench.server.away = True
    bench.spool.add(bench.mail("report.a"))
    bench.clock.ms += WAIT_MS - 1
    with pytest.raises(StoreError, match="1 wait"):
        bench.spool.run()
    bench.clock.ms += 1
    (said,) = bench.spool.run()
    assert said.startswith("report not mailed: about report.a: not taken within 7 days: mail.example.org:25: ")
    assert list(bench.folder.iterdir()) == []


def test_a_damaged_file_keeps_no_other_back(bench: Bench):
    bench.spool.add(bench.mail("report.b"))
    (bench.folder / "report.a.mail").write_bytes(b"\xff{")
    assert bench.spool.run() == []
    assert [mail.id for mail in bench.server.sent] == ["report.b"]
    assert list(bench.folder.iterdir()) == []


def test_not_more_than_some_wait(bench: Bench):
    bench.folder.mkdir()
    for number in range(AT_MOST):
        (bench.folder / f"{number}.mail").touch()
    with pytest.raises(StoreError, match="wait already"):
        bench.spool.add(bench.mail("report.a"))
