"""Forms in which other systems read an alert: OSSEC's text, CEF, LEEF, JSON, Splunk's key=value; and syslog's headers."""
