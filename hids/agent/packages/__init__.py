"""What dpkg, rpm and apk know of this host's files. The one place that asks them.

database.py     what a package manager answers, and how its files are read
dpkg.py apk.py rpm.py   the three
databases.py    those that a host has
explanation.py  for syscheck: which package answers for a change; with an index on disk (owners.py)
voucher.py      for rootcheck: whether a file is as its package brought it

Nothing of a database stays in memory between two questions.
"""
