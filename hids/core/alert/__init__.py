"""Alert: the forms in which people and scripts read one."""
