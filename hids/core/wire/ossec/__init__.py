"""The protocol of OSSEC's and Wazuh's agents: bytes and text in, meaning out, and back. No I/O.

keys -> cipher -> message -> datagram | stream -> control, events, files, response; enrol stands beside them.
"""
