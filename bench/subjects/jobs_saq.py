"""SAQ, a queue on Redis whose workers also keep the time: any number of them may share the same cron jobs.

Fair: its own defaults; a cron job is `unique`, so that all workers together have it in the queue once.
"""

import asyncio
import os

from common import engine
from jobs_common import INTERVAL, NAMES, trace
from redis.asyncio import Redis
from saq import CronJob, Queue, Worker


def cron_job(name: str) -> CronJob:
    async def run(_: object) -> None:
        await asyncio.to_thread(trace, name)

    run.__qualname__ = name  # by which SAQ tells cron jobs apart
    return CronJob(run, cron=f"* * * * * */{INTERVAL}")


if __name__ == "__main__":
    engine.connect().close()
    redis = Redis.from_url(os.environ["QUEUE_URL"], socket_timeout=None)  # its workers wait in a blocking command
    queue = Queue(redis)
    asyncio.run(Worker(queue, functions=[], cron_jobs=[cron_job(name) for name in NAMES]).start())
