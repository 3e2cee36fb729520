"""When something is due that is done at a time of day, or on a day of the week."""

import datetime

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def next_at(now: datetime.datetime, day: str, time: str, month_day: int = 0) -> datetime.datetime:
    """The next such moment after `now`, in its time zone.

    Args:
        now: with a zone.
        day: one of `DAYS`; empty: any.
        time: "HH:MM"; empty: midnight.
        month_day: of the month; 0: any. Months without that day are passed over.
    """
    hour, minute = map(int, (time or "00:00").split(":"))
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    while then <= now or (day and then.weekday() != DAYS.index(day)) or (month_day and then.day != month_day):
        then += datetime.timedelta(days=1)
    return then
