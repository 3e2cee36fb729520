"""Messages of real agents and managers, and made-up ones with fixed random numbers, byte for byte."""

from typing import NamedTuple

from hids.core.wire.ossec.cipher import Method
from hids.core.wire.ossec.keys import ClientKey
from hids.core.wire.ossec.message import Counters, Message

WEB01 = ClientKey("001", "web01", "any", "0123456789abcdeffedcba98765432100123456789abcdeffedcba9876543210")
REAL_OSSEC = ClientKey("1029", "realagent", "any", "3296fb6cb841c3e1a6a677d1cfc1acea2e684adec17cbfd4eeac875da92f625e")
REAL_FIXED = ClientKey("1030", "ipa", "127.0.0.1", "f377963e46b7347207c105b4dbf4bc396057620deb69f825c001865ff3c545c9")
REAL_WAZUH = ClientKey("007", "wzreal", "any", "ab" * 32)


class Vector(NamedTuple):
    name: str
    key: ClientKey
    method: Method
    message: Message
    body: bytes
    named: str = ""
    """The id in front of it."""


def _hex(text: str) -> bytes:
    return bytes.fromhex(text)


_V1 = Message(b"1:/var/log/auth.log:hello", Counters(1_700_000_000, 42), 12_345)

VECTORS = [
    Vector(
        "V1 blowfish",
        WEB01,
        Method.BLOWFISH,
        _V1,
        _hex(
            "21303031213a404b62c142811c9253ef1a080dd96e8097a7fb9d044aecc6043381858a5234d007e3955e0d5a78ea23e2859e7ee0400f18"
            "bd90d21a5849d5ed4fc2d8e9403677bfd4f1b3481212820bb84026e4d41427"
        ),
        "001",
    ),
    Vector(
        "V1 ossec aes",
        WEB01,
        Method.OSSEC_AES,
        _V1,
        _hex(
            "2130303121234145533a000102030405060708090a0b0c0d0e0f4bec57562301e58b2b10062d86dd8dd33d5559b55ced3f50ff2e12e8ef"
            "864aa7e061d9e625d48067b20b5e97c34fcf904f76dc113f0eb6e1b82dda97920970a2405f528e75b0f2dafb5bdec9f0174635b266538f"
            "d510ab5fc45de543b401e53c"
        ),
        "001",
    ),
    Vector(
        "V1 wazuh aes",
        WEB01,
        Method.WAZUH_AES,
        _V1,
        _hex(
            "2130303121234145533ac7e065c9c6136b58214cecf9d95b1233913bba79973799ab4725c460046a261f5d256479984e3e4ae258c0b955"
            "e36ac0506dfa93e2c89e062bfc9385dd89722ff3d700ee26bc8a14093f3efe6413fcacb4e043f052d86016185719ee848d46a3"
        ),
        "001",
    ),
    Vector(
        "V2",
        WEB01,
        Method.BLOWFISH,
        Message(b"#!-agent ack ", Counters(0, 1), 7),
        _hex(
            "3a53617adae8114d570a0153d576438f09eaaa644360cda2e6f026a756cf02a167526311d256939be1924c746b89f363fbc3f51c753b06"
            "67ab68fe3716b13865b6"
        ),
    ),
    Vector(
        "C1",
        REAL_OSSEC,
        Method.OSSEC_AES,
        Message(b"#!-agent startup ", Counters(0, 1), 11_571),
        _hex(
            "213130323921234145533ae130870590f22f62c846165c8a2914c9296a64e3faab40de24cf7d610ec513e1b0c25a4be579e8fa57ff1153"
            "82a9e63f5edee0a1f0948c868a34be2df421e239c1ca785b377b97f68a9bf0905814cc83c03723020b8576eea9cf4ca97638929f"
        ),
        "1029",
    ),
    Vector(
        "C2",
        REAL_OSSEC,
        Method.OSSEC_AES,
        Message(b"#!-agent ack ", Counters(0, 45), 23_390),
        _hex(
            "234145533ae9beb09158dd22c366722c0c8cfd699771f8a1d29ce024a3049649252a2eec332abc00eedc551552a908659687432f6c6867"
            "98eab2686f8766b20a08d3441904a12bd65c2eb33f11d4c5644bbbe65a764fe93b17cb1c1cb2644705df8896e941"
        ),
    ),
    Vector(
        "C3",
        REAL_OSSEC,
        Method.OSSEC_AES,
        Message(b"1:ossec:ossec: Agent started: 'realagent->any'.", Counters(0, 2), 46_674),
        _hex(
            "213130323921234145533a10e5e590f74e4cea40f0de61e7ad169d535de03f1b27955fd586a3538b871c71b74ca1aa4eaa09cb40690f9d"
            "f54a283164309488bf422b7a85fa5051a86e80ddfa03ab6bd41ee844b308c6c0c0a8744f1ec9ed6e5ab4de5a97d665aa940225f5bfe08b"
            "938b6ef83dc1580df079970d52aedbe0f601dfd98a9441bb5c1bd5d775"
        ),
        "1029",
    ),
    Vector(
        "C4",
        REAL_FIXED,
        Method.BLOWFISH,
        Message(b"#!-agent startup ", Counters(0, 72), 26_471),
        _hex(
            "3a769c6a3a2f400d2746ad3cd8a0c1330458c5e044c3e92271ac04ffd8415daa16dcccfab74379c14bd623022f7265e3ff2e86c723ab47"
            "6e7fd9e0807dc4a7586b5083ec5205b7e36e"
        ),
    ),
    Vector(
        "C5",
        REAL_FIXED,
        Method.BLOWFISH,
        Message(b"#!-agent ack ", Counters(0, 80), 33_076),
        _hex(
            "3ab10b1e79d5e156646120f900ae092d5657051e6669d032f8571c9e7f32ac273d63127a5c3059926e85240887e4991abbbfd2a0d26ae3"
            "ac7e48349fbeb1b878862c105cb50fcf251a"
        ),
    ),
    Vector(
        "C6",
        REAL_FIXED,
        Method.BLOWFISH,
        Message(b"1:ossec:ossec: Agent started: 'ipa->127.0.0.1'.", Counters(0, 73), 27_623),
        _hex(
            "3ab10b1e79d5e156647476898667e363465ae45567a171b09397d32ef8d2b3c2a576f4dd8e7469f1b03599975999442b9943fdd79b5eec"
            "58b2578ece0b2b9e230059129efeae09ef569dea16ff999c9e82a8f8a859d55b33677e769b0064d6ab76"
        ),
    ),
    Vector(
        "C7",
        REAL_WAZUH,
        Method.WAZUH_AES,
        Message(b'#!-agent startup {"version":"v4.14.7"}', Counters(0, 1), 23_190),
        _hex(
            "2130303721234145533a6edbb06f2d2ecd9fccc3bb98f87259c0fa0cfe0bbf33cba5b7ec75dbe6d8f681aee60085a579fbe8ce7fc8ea6b"
            "064aa517a4a465da6f23d493f3660276e66a3807a12437645b5d6983b2aedba998409083830387b338914bcb7f1e5d16b6b009"
        ),
        "007",
    ),
]
