"""Names of MITRE ATT&CK's techniques and tactics (Enterprise), for the alert's `rule.mitre` as Wazuh 4 writes it.

The techniques that intrusion rules name, not the whole catalogue. ATT&CK's names are MITRE's: see NOTICE.
"""

from collections.abc import Sequence
from functools import cache

_TACTICS = {
    "RE": ("TA0043", "Reconnaissance"),
    "RD": ("TA0042", "Resource Development"),
    "IA": ("TA0001", "Initial Access"),
    "EX": ("TA0002", "Execution"),
    "PE": ("TA0003", "Persistence"),
    "PR": ("TA0004", "Privilege Escalation"),
    "DE": ("TA0005", "Defense Evasion"),
    "CA": ("TA0006", "Credential Access"),
    "DI": ("TA0007", "Discovery"),
    "LM": ("TA0008", "Lateral Movement"),
    "CO": ("TA0009", "Collection"),
    "EF": ("TA0010", "Exfiltration"),
    "CC": ("TA0011", "Command and Control"),
    "IM": ("TA0040", "Impact"),
}

_TECHNIQUES = """
T1001 CC Data Obfuscation
T1003 CA OS Credential Dumping
T1003.001 CA LSASS Memory
T1003.002 CA Security Account Manager
T1003.008 CA /etc/passwd and /etc/shadow
T1005 CO Data from Local System
T1007 DI System Service Discovery
T1008 CC Fallback Channels
T1012 DI Query Registry
T1014 DE Rootkit
T1016 DI System Network Configuration Discovery
T1018 DI Remote System Discovery
T1020 EF Automated Exfiltration
T1021 LM Remote Services
T1021.001 LM Remote Desktop Protocol
T1021.002 LM SMB/Windows Admin Shares
T1021.003 LM Distributed Component Object Model
T1021.004 LM SSH
T1021.005 LM VNC
T1021.006 LM Windows Remote Management
T1027 DE Obfuscated Files or Information
T1027.004 DE Compile After Delivery
T1033 DI System Owner/User Discovery
T1036 DE Masquerading
T1036.002 DE Right-to-Left Override
T1036.003 DE Rename System Utilities
T1036.005 DE Match Legitimate Name or Location
T1037 PE,PR Boot or Logon Initialization Scripts
T1040 CA,DI Network Sniffing
T1041 EF Exfiltration Over C2 Channel
T1046 DI Network Service Discovery
T1047 EX Windows Management Instrumentation
T1048 EF Exfiltration Over Alternative Protocol
T1048.001 EF Exfiltration Over Symmetric Encrypted Non-C2 Protocol
T1048.003 EF Exfiltration Over Unencrypted Non-C2 Protocol
T1049 DI System Network Connections Discovery
T1052 EF Exfiltration Over Physical Medium
T1052.001 EF Exfiltration over USB
T1053 EX,PE,PR Scheduled Task/Job
T1053.002 EX,PE,PR At
T1053.003 EX,PE,PR Cron
T1053.005 EX,PE,PR Scheduled Task
T1053.006 EX,PE,PR Systemd Timers
T1055 DE,PR Process Injection
T1055.003 DE,PR Thread Execution Hijacking
T1055.012 DE,PR Process Hollowing
T1056 CO,CA Input Capture
T1057 DI Process Discovery
T1059 EX Command and Scripting Interpreter
T1059.001 EX PowerShell
T1059.003 EX Windows Command Shell
T1059.004 EX Unix Shell
T1059.005 EX Visual Basic
T1059.006 EX Python
T1059.007 EX JavaScript
T1068 PR Exploitation for Privilege Escalation
T1069 DI Permission Groups Discovery
T1070 DE Indicator Removal
T1070.001 DE Clear Windows Event Logs
T1070.002 DE Clear Linux or Mac System Logs
T1070.003 DE Clear Command History
T1070.004 DE File Deletion
T1070.006 DE Timestomp
T1071 CC Application Layer Protocol
T1071.001 CC Web Protocols
T1071.002 CC File Transfer Protocols
T1071.004 CC DNS
T1072 EX,LM Software Deployment Tools
T1074 CO Data Staged
T1074.001 CO Local Data Staging
T1078 DE,PE,PR,IA Valid Accounts
T1078.001 DE,PE,PR,IA Default Accounts
T1078.002 DE,PE,PR,IA Domain Accounts
T1078.003 DE,PE,PR,IA Local Accounts
T1078.004 DE,PE,PR,IA Cloud Accounts
T1082 DI System Information Discovery
T1083 DI File and Directory Discovery
T1087 DI Account Discovery
T1087.001 DI Local Account
T1087.002 DI Domain Account
T1090 CC Proxy
T1091 LM,IA Replication Through Removable Media
T1092 CC Communication Through Removable Media
T1095 CC Non-Application Layer Protocol
T1098 PE,PR Account Manipulation
T1098.001 PE,PR Additional Cloud Credentials
T1098.002 PE,PR Additional Email Delegate Permissions
T1098.003 PE,PR Additional Cloud Roles
T1098.004 PE,PR SSH Authorized Keys
T1102 CC Web Service
T1104 CC Multi-Stage Channels
T1105 CC Ingress Tool Transfer
T1106 EX Native API
T1110 CA Brute Force
T1110.001 CA Password Guessing
T1110.002 CA Password Cracking
T1110.003 CA Password Spraying
T1110.004 CA Credential Stuffing
T1111 CA Multi-Factor Authentication Interception
T1112 DE Modify Registry
T1113 CO Screen Capture
T1114 CO Email Collection
T1114.001 CO Local Email Collection
T1114.003 CO Email Forwarding Rule
T1115 CO Clipboard Data
T1119 CO Automated Collection
T1120 DI Peripheral Device Discovery
T1123 CO Audio Capture
T1124 DI System Time Discovery
T1125 CO Video Capture
T1127 DE Trusted Developer Utilities Proxy Execution
T1129 EX Shared Modules
T1132 CC Data Encoding
T1133 PE,IA External Remote Services
T1134 DE,PR Access Token Manipulation
T1135 DI Network Share Discovery
T1136 PE Create Account
T1136.001 PE Local Account
T1136.002 PE Domain Account
T1136.003 PE Cloud Account
T1137 PE Office Application Startup
T1137.006 PE Add-ins
T1140 DE Deobfuscate/Decode Files or Information
T1176 PE Browser Extensions
T1185 CO Browser Session Hijacking
T1187 CA Forced Authentication
T1189 IA Drive-by Compromise
T1190 IA Exploit Public-Facing Application
T1195 IA Supply Chain Compromise
T1197 DE,PE BITS Jobs
T1199 IA Trusted Relationship
T1201 DI Password Policy Discovery
T1203 EX Exploitation for Client Execution
T1204 EX User Execution
T1204.001 EX Malicious Link
T1204.002 EX Malicious File
T1204.003 EX Malicious Image
T1205 DE,PE,CC Traffic Signaling
T1207 DE Rogue Domain Controller
T1210 LM Exploitation of Remote Services
T1211 DE Exploitation for Defense Evasion
T1212 CA Exploitation for Credential Access
T1213 CO Data from Information Repositories
T1213.002 CO Sharepoint
T1213.003 CO Code Repositories
T1216 DE System Script Proxy Execution
T1217 DI Browser Information Discovery
T1218 DE System Binary Proxy Execution
T1218.005 DE Mshta
T1218.010 DE Regsvr32
T1218.011 DE Rundll32
T1218.012 DE Verclsid
T1219 CC Remote Access Software
T1220 DE XSL Script Processing
T1221 DE Template Injection
T1222 DE File and Directory Permissions Modification
T1222.001 DE Windows File and Directory Permissions Modification
T1222.002 DE Linux and Mac File and Directory Permissions Modification
T1480 DE Execution Guardrails
T1482 DI Domain Trust Discovery
T1484 DE,PR Domain Policy Modification
T1484.001 DE,PR Group Policy Modification
T1485 IM Data Destruction
T1486 IM Data Encrypted for Impact
T1489 IM Service Stop
T1490 IM Inhibit System Recovery
T1491 IM Defacement
T1495 IM Firmware Corruption
T1496 IM Resource Hijacking
T1497 DE,DI Virtualization/Sandbox Evasion
T1498 IM Network Denial of Service
T1498.001 IM Direct Network Flood
T1499 IM Endpoint Denial of Service
T1505 PE Server Software Component
T1505.003 PE Web Shell
T1518 DI Software Discovery
T1518.001 DI Security Software Discovery
T1525 PE Implant Internal Image
T1526 DI Cloud Service Discovery
T1528 CA Steal Application Access Token
T1529 IM System Shutdown/Reboot
T1530 CO Data from Cloud Storage
T1531 IM Account Access Removal
T1534 LM Internal Spearphishing
T1537 EF Transfer Data to Cloud Account
T1538 DI Cloud Service Dashboard
T1539 CA Steal Web Session Cookie
T1542 DE,PE Pre-OS Boot
T1543 PE,PR Create or Modify System Process
T1543.002 PE,PR Systemd Service
T1543.003 PE,PR Windows Service
T1546 PE,PR Event Triggered Execution
T1546.003 PE,PR Windows Management Instrumentation Event Subscription
T1546.004 PE,PR Unix Shell Configuration Modification
T1546.011 PE,PR Application Shimming
T1546.015 PE,PR Component Object Model Hijacking
T1547 PE,PR Boot or Logon Autostart Execution
T1547.001 PE,PR Registry Run Keys / Startup Folder
T1547.006 PE,PR Kernel Modules and Extensions
T1547.012 PE,PR Print Processors
T1548 DE,PR Abuse Elevation Control Mechanism
T1548.001 DE,PR Setuid and Setgid
T1548.002 DE,PR Bypass User Account Control
T1548.003 DE,PR Sudo and Sudo Caching
T1550 DE,LM Use Alternate Authentication Material
T1550.002 DE,LM Pass the Hash
T1550.003 DE,LM Pass the Ticket
T1552 CA Unsecured Credentials
T1552.001 CA Credentials In Files
T1552.004 CA Private Keys
T1553 DE Subvert Trust Controls
T1554 PE Compromise Host Software Binary
T1555 CA Credentials from Password Stores
T1555.003 CA Credentials from Web Browsers
T1556 CA,DE,PE Modify Authentication Process
T1556.003 CA,DE,PE Pluggable Authentication Modules
T1556.006 CA,DE,PE Multi-Factor Authentication
T1557 CA,CO Adversary-in-the-Middle
T1557.002 CA,CO ARP Cache Poisoning
T1558 CA Steal or Forge Kerberos Tickets
T1558.003 CA Kerberoasting
T1559 EX Inter-Process Communication
T1559.001 EX Component Object Model
T1560 CO Archive Collected Data
T1560.001 CO Archive via Utility
T1561 IM Disk Wipe
T1561.001 IM Disk Content Wipe
T1562 DE Impair Defenses
T1562.001 DE Disable or Modify Tools
T1562.004 DE Disable or Modify System Firewall
T1562.006 DE Indicator Blocking
T1562.007 DE Disable or Modify Cloud Firewall
T1562.008 DE Disable or Modify Cloud Logs
T1563 LM Remote Service Session Hijacking
T1564 DE Hide Artifacts
T1564.001 DE Hidden Files and Directories
T1565 IM Data Manipulation
T1565.001 IM Stored Data Manipulation
T1566 IA Phishing
T1566.001 IA Spearphishing Attachment
T1566.002 IA Spearphishing Link
T1567 EF Exfiltration Over Web Service
T1567.002 EF Exfiltration to Cloud Storage
T1568 CC Dynamic Resolution
T1569 EX System Services
T1569.002 EX Service Execution
T1570 LM Lateral Tool Transfer
T1571 CC Non-Standard Port
T1572 CC Protocol Tunneling
T1573 CC Encrypted Channel
T1574 DE,PE,PR Hijack Execution Flow
T1574.001 DE,PE,PR DLL Search Order Hijacking
T1574.002 DE,PE,PR DLL Side-Loading
T1574.006 DE,PE,PR Dynamic Linker Hijacking
T1574.010 DE,PE,PR Services File Permissions Weakness
T1578 DE Modify Cloud Compute Infrastructure
T1580 DI Cloud Infrastructure Discovery
T1583 RD Acquire Infrastructure
T1584 RD Compromise Infrastructure
T1584.002 RD DNS Server
T1585 RD Establish Accounts
T1586 RD Compromise Accounts
T1587 RD Develop Capabilities
T1587.001 RD Malware
T1587.004 RD Exploits
T1588 RD Obtain Capabilities
T1588.001 RD Malware
T1589 RE Gather Victim Identity Information
T1589.001 RE Credentials
T1589.002 RE Email Addresses
T1590 RE Gather Victim Network Information
T1592 RE Gather Victim Host Information
T1595 RE Active Scanning
T1595.001 RE Scanning IP Blocks
T1595.002 RE Vulnerability Scanning
T1595.003 RE Wordlist Scanning
T1598 RE Phishing for Information
T1606 CA Forge Web Credentials
T1609 EX Container Administration Command
T1610 DE,EX Deploy Container
T1611 PR Escape to Host
T1613 DI Container and Resource Discovery
T1614 DI System Location Discovery
T1615 DI Group Policy Discovery
T1620 DE Reflective Code Loading
T1621 CA Multi-Factor Authentication Request Generation
"""


@cache
def _catalogue() -> dict[str, tuple[tuple[str, ...], str]]:
    """Technique's id -> (tactics, name)."""
    rows = (line.split(" ", 2) for line in _TECHNIQUES.strip().splitlines())
    return {technique: (tuple(tactics.split(",")), name) for technique, tactics, name in rows}


def mitre_object(ids: Sequence[str]) -> dict[str, list[str]]:
    """What an alert says of a rule's techniques: `id`, and the names of tactics and techniques, each once.

    An id that is not in the catalogue stands for itself; one of a tactic (TA0001) has no technique.
    """
    tactics: dict[str, None] = {}
    names: dict[str, None] = {}
    by_id = dict(_TACTICS.values())
    for each in ids:
        if each in by_id:
            tactics[by_id[each]] = None
        elif each in _catalogue():
            letters, name = _catalogue()[each]
            tactics.update(dict.fromkeys(_TACTICS[letter][1] for letter in letters))
            names[name] = None
    found = {"id": list(ids), "tactic": list(tactics), "technique": list(names)}
    return {member: values for member, values in found.items() if values}
