"""When a job is due: `@every 10s`, or five cron fields in a time zone. All moments are naive datetimes in UTC."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

EPOCH = datetime(1970, 1, 1)
EVERY = re.compile(r"@every ([1-9]\d{0,6})([smhd])")
PUNCTUAL = timedelta(seconds=5)  # a moment younger than that runs, even where the next one is due already
LATE = timedelta(seconds=60)  # an older one is missed, unless the job catches up
LONGEST = 255  # characters of a cron and its time zone, as `planned_by` holds them, with a space in between
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")

Schedule = Callable[[datetime], datetime]  # the first moment after that one


class ScheduleError(ValueError):
    """A `cron` or `timezone` that cannot be used. The text names the place."""


@lru_cache(1000)
def parse(cron: str, timezone: str) -> Schedule:
    """Raises ScheduleError.

    `@every` counts from 1970, so it means the same moments on every replica. A cron hour that the clocks skip in spring
    comes right after the gap, one that they repeat in autumn comes once.
    """
    if cron.startswith("@"):
        return _every(cron)
    try:
        zone = ZoneInfo(timezone)
    except (LookupError, ValueError, OSError):
        raise ScheduleError(f"timezone: {timezone[:50]!r} is none of the IANA zones, such as Asia/Seoul") from None
    fields = cron.split()
    if len(cron) + len(timezone) >= LONGEST:
        raise ScheduleError(f"cron: has {len(cron)} characters and may have {LONGEST - 1 - len(timezone)}")
    if len(fields) != len(FIELDS):
        raise ScheduleError(f"cron: has {len(fields)} fields and needs 5 ({', '.join(FIELDS)}), or: @every 10s")

    def after(moment: datetime) -> datetime:
        for slot in CronSim(cron, moment.replace(tzinfo=UTC).astimezone(zone)):
            utc = slot.astimezone(UTC).replace(tzinfo=None)
            if utc > moment:  # not so for the first pass of an hour that the clocks repeat, seen from its second pass
                return utc
        raise ScheduleError("cron: this date does not come in the next 50 years")

    try:
        after(EPOCH)
    except CronSimError as error:
        raise ScheduleError(_place(str(error), fields)) from None
    return after


def _every(text: str) -> Schedule:
    found = EVERY.fullmatch(text)
    if not found:
        raise ScheduleError("cron: @every takes a number and s, m, h or d, such as @every 10s")
    interval = timedelta(seconds=int(found[1]) * SECONDS[found[2]])
    if interval > timedelta(days=366):
        raise ScheduleError("cron: @every takes at most 366d")
    return lambda moment: EPOCH + ((moment - EPOCH) // interval + 1) * interval


def _place(message: str, fields: list[str]) -> str:
    """cronsim says `Bad hour`."""
    name = message.removeprefix("Bad ")
    number = FIELDS.index(name) if name in FIELDS else 0
    return f"cron: field {number + 1} ({FIELDS[number]}) cannot be {fields[number][:30]!r}"


class Choice(NamedTuple):
    """Which of the moments that are due to run, which to note as missed, and which to go on with."""

    run: datetime | None
    missed: datetime | None
    next: datetime


def choose(after: Schedule, due: datetime, now: datetime, catch_up: bool) -> Choice:
    """`due` is the oldest moment that nobody has run yet."""
    if now - due <= PUNCTUAL:
        return Choice(due, None, after(due))
    recent = after(now - PUNCTUAL)
    if recent <= now:
        return Choice(recent, due, after(recent))
    if catch_up or now - due <= LATE:
        return Choice(due, None, recent)
    return Choice(None, due, recent)
