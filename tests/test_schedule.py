"""When a job is due: time zones, changes of daylight saving time, and moments that nobody was there for."""

from datetime import datetime, timedelta

import pytest

from schedule import Choice, ScheduleError, choose, parse


def moments(cron: str, timezone: str, begin: str, end: str) -> list[str]:
    """All moments in between, in UTC, found as the scheduler does: each from the one before."""
    after, moment, found = parse(cron, timezone), datetime.fromisoformat(begin), []
    while (moment := after(moment)) <= datetime.fromisoformat(end):
        found.append(f"{moment:%m-%d %H:%M}")
    return found


@pytest.mark.prd("JOB-04")
@pytest.mark.parametrize(
    ("cron", "timezone", "begin", "end", "expected"),
    [
        # Helsinki, 29 March 2026: 03:00 becomes 04:00 at 01:00 UTC. 25 October: 04:00 becomes 03:00 at 01:00 UTC.
        ("30 3 * * *", "Europe/Helsinki", "2026-03-28", "2026-03-31", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
        ("30 3 * * *", "Europe/Helsinki", "2026-10-24", "2026-10-27", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
        ("0 * * * *", "Europe/Helsinki", "2026-10-24T23:30", "2026-10-25T01:30", ["10-25 00:00", "10-25 01:00"]),
        ("30 0 * * *", "Asia/Seoul", "2026-03-28", "2026-03-30", ["03-28 15:30", "03-29 15:30"]),
        ("30 0 * * *", "Asia/Seoul", "2026-10-24", "2026-10-26", ["10-24 15:30", "10-25 15:30"]),
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00", "2026-03-09T12:00", ["03-08 07:00", "03-09 06:30"]),
        ("@every 12h", "Europe/Helsinki", "2026-03-28T20:00", "2026-03-29T13", ["03-29 00:00", "03-29 12:00"]),
    ],
)
def test_each_moment_comes_once(cron: str, timezone: str, begin: str, end: str, expected: list[str]) -> None:
    """An hour that the clocks skip comes right after the gap, one that they repeat comes once; Seoul has neither."""
    assert moments(cron, timezone, begin, end) == expected


@pytest.mark.parametrize("minute", range(0, 240, 7))
def test_a_plan_made_at_any_minute_of_the_change_lies_ahead(minute: int) -> None:
    """Whenever a row is planned in the night of the change, its next moment is later than that."""
    now = datetime(2026, 10, 24, 23, 0, 30) + timedelta(minutes=minute)

    assert parse("30 3 * * *", "Europe/Helsinki")(now) > now


@pytest.mark.parametrize(
    ("cron", "timezone", "words"),
    [
        ("61 * * * *", "UTC", "field 1 (minute) cannot be '61'"),
        ("0 25 * * *", "UTC", "field 2 (hour) cannot be '25'"),
        ("0 0 * * FUN", "UTC", "field 5 (day-of-week) cannot be 'FUN'"),
        ("0 0 30 2 *", "UTC", "field 3 (day-of-month) cannot be '30'"),
        ("0 0 * * * *", "UTC", "has 6 fields and needs 5"),
        ("", "UTC", "has 0 fields and needs 5"),
        ("@hourly", "UTC", "@every takes a number"),
        ("@every 0s", "UTC", "@every takes a number"),
        ("@every 999d", "UTC", "at most 366d"),
        ("* * * * *", "Europe/Atlantis", "'Europe/Atlantis' is none of the IANA zones"),
        ("* * * * *", "../../etc/passwd", "is none of the IANA zones"),
        ("* * * * *", "Europe", "is none of the IANA zones"),
    ],
)
def test_a_mistake_is_named_with_its_place(cron: str, timezone: str, words: str) -> None:
    """The text says which field cannot be read."""
    with pytest.raises(ScheduleError) as error:
        parse(cron, timezone)

    assert words in str(error.value)


NOON = datetime(2026, 1, 1, 12)


@pytest.mark.prd("JOB-04")
@pytest.mark.parametrize(
    ("cron", "late", "catch_up", "run", "missed", "next_moment"),
    [
        ("@every 1s", 3, False, 0, None, 1),  # a short hiccup: one after the other
        ("@every 1s", 100, False, 96, 0, 97),  # what is older than 5 s is one missed moment
        ("@every 1h", 30, False, 0, None, 3600),
        ("@every 1h", 61, False, None, 0, 3600),
        ("@every 1h", 61, True, 0, None, 3600),
        ("@every 1h", 3 * 3600 + 10, True, 0, None, 4 * 3600),  # three hours away: one run catches up
        ("@every 1h", 3 * 3600 + 10, False, None, 0, 4 * 3600),
    ],
)
def test_what_is_late_runs_once_or_is_missed_once(
    cron: str, late: float, catch_up: bool, run: int | None, missed: int | None, next_moment: int
) -> None:
    """Seconds from the oldest moment that nobody has run."""

    def moment(seconds: int | None) -> datetime | None:
        return None if seconds is None else NOON + timedelta(seconds=seconds)

    choice = choose(parse(cron, "UTC"), NOON, NOON + timedelta(seconds=late), catch_up)

    assert choice == Choice(moment(run), moment(missed), NOON + timedelta(seconds=next_moment))
