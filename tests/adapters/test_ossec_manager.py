from typing import Any

import pytest

from hids.adapters.ossec_manager import ossec_manager


def read(inner: str, *, wazuh: bool = False) -> tuple[dict[str, Any], list[str]]:
    part = ossec_manager("ossec.conf", f"<ossec_config>{inner}</ossec_config>".encode(), wazuh=wazuh, home="/var/ossec")
    return part.tables, part.notes


def test_the_level_that_each_has_by_default() -> None:
    assert read("")[0]["alerts"] == {"level": 1}
    assert read("", wazuh=True)[0]["alerts"] == {"level": 3}
    assert read("<alerts><log_alert_level>6</log_alert_level></alerts>")[0]["alerts"] == {"level": 6}


@pytest.mark.parametrize(
    ("inner", "tables"),
    [
        ("<global><logall_json>yes</logall_json></global>", {"archive": {"enabled": True}}),
        ("<global><compress_alerts>no</compress_alerts></global>", {"retention": {"compress": False}}),
        ("<global><max_output_size>2G</max_output_size></global>", {"retention": {"rotate_mib": 2048}}),
        ("<global><max_output_size>0</max_output_size></global>", {}),
        (
            "<global><agents_disconnection_time>15m</agents_disconnection_time></global>",
            {"agents": {"disconnected_after_s": 900.0}},
        ),
        ("<remote><connection>secure</connection></remote>", {"legacy": {"enabled": True, "udp": ":1514"}}),
        (
            "<remote><protocol>tcp,udp</protocol><port>1600</port><crypto_accept>both</crypto_accept><local_ip>::1</local_ip></remote>",
            {"legacy": {"enabled": True, "udp": "[::1]:1600", "blowfish": True}, "listen": {"agents": "[::1]:1600"}},
        ),
        (
            (
                "<remote><connection>syslog</connection><protocol>tcp</protocol><allowed-ips>10.0.0.0/8</allowed-ips>"
                "<allowed-ips>any</allowed-ips><denied-ips>10.1.1.1</denied-ips></remote>"
            ),
            {
                "syslog": [
                    {
                        "listen": ":514",
                        "protocol": "tcp",
                        "allow": ["10.0.0.0/8", "0.0.0.0/0"],
                        "deny": ["10.1.1.1"],
                    }
                ]
            },
        ),
        (
            "<auth><use_password>yes</use_password><port>1600</port></auth>",
            {"legacy": {"enabled": True}, "listen": {"join": ":1600"}},
        ),
        ("<auth><disabled>yes</disabled></auth>", {}),
        ("<syscheck><auto_ignore>yes</auto_ignore></syscheck>", {"syscheck": {"auto_ignore": True}}),
        ("<syscheck><auto_ignore>no</auto_ignore></syscheck>", {}),
        (
            "<agentless><type>ssh_generic_diff</type><host>a@b</host><host>c@d</host><arguments>show run</arguments></agentless>",
            {
                "agentless": [
                    {"host": "a@b", "type": "generic_diff", "run": "show run"},
                    {"host": "c@d", "type": "generic_diff", "run": "show run"},
                ]
            },
        ),
        (
            (
                "<agentless><type>ssh_integrity_check_bsd</type><host>use_su a@b</host><frequency>60</frequency><port>2222</port>"
                "<arguments>/etc /bin</arguments></agentless>"
            ),
            {
                "agentless": [
                    {
                        "host": "a@b",
                        "type": "integrity_check",
                        "paths": ["/etc", "/bin"],
                        "port": 2222,
                        "frequency_s": 60.0,
                    }
                ]
            },
        ),
    ],
)
def test_what_is_taken_over(inner: str, tables: dict[str, Any]) -> None:
    found, _notes = read(inner)
    found.pop("alerts")
    assert found == tables


@pytest.mark.parametrize(
    ("inner", "note"),
    [
        ("<global><memory_size>9</memory_size></global>", "ossec.conf:1: <memory_size> is not taken over: windows"),
        ("<global><odd>9</odd></global>", "ossec.conf:1: <odd> is not known in <global>"),
        ("<alerts><use_geoip>yes</use_geoip></alerts>", "<use_geoip> is not taken over"),
        ("<global><agents_disconnection_time>soon</agents_disconnection_time></global>", "a time such as 90"),
        ("<global><rotate_interval>1h</rotate_interval></global>", "<rotate_interval> is not taken over"),
        ("<remote><connection>syslog</connection></remote>", "nobody may send syslog"),
        ("<remote><allowed-ips>10.0.0.1</allowed-ips></remote>", "agents are known by their keys"),
        ("<remote><queue_size>9</queue_size></remote>", "nothing is dropped"),
        ("<auth><use_password>yes</use_password></auth>", "copy /var/ossec/etc/authd.pass to /etc/hids/authd.pass"),
        ("<auth><purge>yes</purge></auth>", "nobody can enrol without a password"),
        ("<auth><purge>yes</purge></auth>", "not taken over: purge"),
        ("<agentless><type>mine</type><host>a@b</host></agentless>", "a script of your own"),
        ("<agentless><type>ssh_generic_diff</type><host>a@b</host></agentless>", "no <arguments> say what"),
        ("<agentless><type>ssh_pixconfig_diff</type><host>use_sudo a@b</host></agentless>", "without su or sudo"),
    ],
)
def test_what_is_told(inner: str, note: str) -> None:
    assert any(note in each for each in read(inner)[1])
