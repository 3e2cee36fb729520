"""Policies: how a host should be set up, as Wazuh's SCA files say it. No I/O."""
