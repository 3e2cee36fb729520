"""The command lines: hids-manager, hids-agent, hidsctl."""
