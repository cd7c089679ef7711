"""The benchmark: this service and what people use today, side by side, in one run, against the same server.

`python bench/bench.py` runs everything (about 20 minutes on two cores) and writes RESULTS.md and the plots;
`--quick` runs what the goals need (about 4 minutes) and prints the goals. Install `requirements.txt` of this folder.
"""

import argparse
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import fleet
import measure
import plots
import report
from measure import Lab, Load, Proxy
from report import CROWDS, Samples
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

EVERYDAY = ("service", "tutorial", "prestart", "per_probe")
PICTURED = ("service", "per_probe", "tutorial")
FAULTS = {"refuse": 6, "close": 4, "frozen": 3, "drip": 2}  # and how often
STAGGER = 1.2  # seconds between two starts of the waiting test, so that few starts disturb another's end
console = Console(highlight=False)


class Step(NamedTuple):
    """A part of the run and about how many seconds it takes."""

    name: str
    seconds: float
    run: Callable[[], None]


class Bench:
    """The steps of a run, and the samples they leave: `samples[figure][subject]`."""

    def __init__(self, lab: Lab, quick: bool) -> None:
        self.lab = lab
        self.quick = quick
        self.samples: Samples = defaultdict(lambda: defaultdict(list))

    def steps(self) -> list[Step]:
        if self.quick:
            return [
                Step("warm up", 2, lambda: self.warm_up(("service", "bare_route", "bare_asgi"))),
                Step("start", 12, lambda: self.start(("service", "bare_route"), rounds=8)),
                Step("throughput", 40, lambda: self.throughput("up", ("bare_route", "service", "bare_asgi"), 8, 1)),
                Step("requests", 40, lambda: self.requests(rounds=4, seconds=1)),
                Step("60 to 400 clients", 110, lambda: self.starvation(rounds=1, seconds=4)),
                Step("throughput, frozen", 20, lambda: self.throughput("frozen", ("service",), 3, 1)),
                Step("queries", 5, lambda: self.queries(("service",))),
                Step("reaction after 3 s", 12, lambda: self.reaction(("service",), 3, 7)),
                Step("outages", 20, lambda: self.outages(("service",), {"refuse": 8, "frozen": 2})),
            ]
        everything = (*EVERYDAY, "bare_route", "bare_asgi")
        return [
            Step("warm up", 6, lambda: self.warm_up(everything)),
            Step("start", 40, lambda: self.start(everything, rounds=9)),
            Step("throughput, up", 77, lambda: self.throughput("up", ("bare_route", *EVERYDAY, "bare_asgi"), 5, 2)),
            Step("requests", 80, lambda: self.requests(rounds=5, seconds=2)),
            Step("60 to 400 clients", 400, lambda: self.starvation(rounds=3, seconds=5)),
            Step("throughput, refused", 20, lambda: self.throughput("refused", ("service", "per_probe"), 3, 2)),
            Step("throughput, frozen", 36, lambda: self.throughput("frozen", ("service", "per_probe"), 3, 2)),
            Step("queries", 20, lambda: self.queries(EVERYDAY)),
            Step("reaction after 3 s", 33, lambda: self.reaction(EVERYDAY, 3, 4)),
            Step("reaction after 10 s", 32, lambda: self.reaction(EVERYDAY, 10, 4)),
            Step("reaction after 30 s", 50, lambda: self.reaction(EVERYDAY, 30, 4)),
            Step("outages", 120, lambda: self.outages(("service", "per_probe"), FAULTS)),
            Step("the frozen minute", 19, self.frozen_picture),
            Step("stop", 86, lambda: self.stop(EVERYDAY, rounds=2)),
            Step("10⁵ probes, 500 outages", 138, self.growth),
            Step("a fleet of 50", 1, self.fleet),
        ]

    def add(self, figure: str, subject: str, value: float) -> None:
        self.samples[figure][subject].append(value)

    def warm_up(self, subjects: tuple[str, ...]) -> None:
        """Python compiles what a process imports for the first time: that start does not count."""
        for subject in subjects:
            measure.time_start(self.lab, subject)

    def start(self, subjects: tuple[str, ...], rounds: int) -> None:
        for _ in range(rounds):
            for subject in random.sample(subjects, len(subjects)):
                answered, ready = measure.time_start(self.lab, subject)
                self.add("start to port", subject, answered)
                self.add("start to 200", subject, ready)

    def throughput(self, state: str, subjects: tuple[str, ...], rounds: int, seconds: int) -> None:
        """`/health`, and of the service `/health/live` too, with the database up, refused or frozen."""
        with Proxy(self.lab.server.port) as network:
            services = {subject: self.lab.start(subject, network.port) for subject in subjects}
            for service in services.values():
                measure.until(partial(measure.ok, service))
            if state == "up":
                for subject, service in services.items():
                    self.add("memory after boot", subject, measure.footprint(self.lab, service).mb)
            targets = [(subject, "/health") for subject in subjects] + [("service", "/health/live")]
            for _ in range(rounds):
                if state == "frozen":  # up and frozen take turns: their ratio is a goal
                    self.load("up again", services, [("service", "/health")], seconds)
                    self.lab.server.freeze()
                elif state == "refused":
                    network.break_with("refuse")
                if state != "up":
                    measure.until(lambda: not measure.ok(services["service"]))
                self.load(state, services, random.sample(targets, len(targets)), seconds)
                self.lab.server.thaw()
                if state == "refused":
                    network.heal()
                measure.until(lambda: measure.ok(services["service"]))
            for service in services.values():
                measure.end(service)

    def requests(self, rounds: int, seconds: int) -> None:
        """Requests with and without the database, one after the other and 16 at a time."""
        services = {subject: self.lab.start(subject) for subject in ("service", "tutorial_requests")}
        for service in services.values():
            measure.until(partial(measure.ok, service))
        for path in ("/api/", "/api/test"):
            for connections in (1, 16):
                for _ in range(rounds):
                    for subject in random.sample(list(services), 2):
                        load = measure.load(services[subject], path, seconds, connections)
                        self.add(f"{path} at {connections}", subject, load.rate)
        for service in services.values():
            measure.end(service)

    def starvation(self, rounds: int, seconds: int) -> None:
        """More clients than connections and worker threads. Each load begins when the one before is answered."""
        for subject, path in (
            ("service", "/api/test"),
            ("service_untyped", "/untyped"),
            ("tutorial_requests", "/api/test"),
            ("tutorial_requests", "/untyped"),
        ):
            name = f"{subject} {path}"
            with self.lab.running(subject) as service:
                measure.load(service, path, 1, 20)
                for _ in range(rounds if subject.startswith("service") else 1):  # the others need minutes to recover
                    crowds = [("20", 20), *random.sample([(str(n), n) for n in CROWDS], len(CROWDS))]
                    for label, clients in [*crowds, ("20 afterwards", 20)]:
                        load = measure.load(service, path, seconds, clients)
                        measure.until(partial(measure.ok, service, path, within=0.1))  # nothing waits any more
                        for figure, value in (("rate", load.rate), ("failed", load.failed), ("p99", load.p99_ms)):
                            self.add(f"clients {label} {figure}", name, value)

    def load(
        self,
        state: str,
        services: dict[str, measure.Service],
        targets: list[tuple[str, str]],
        seconds: int,
    ) -> None:
        for subject, path in targets:
            what = "live" if path == "/health/live" else subject
            load: Load = measure.load(services[subject], path, seconds)
            for name, value in load._asdict().items():
                self.add(f"load {state} {name}", what, value)

    def queries(self, subjects: tuple[str, ...]) -> None:
        for subject in subjects:
            with self.lab.running(subject) as service:
                count, seconds = measure.count_queries(self.lab, service)
                self.add("queries", subject, count)
                self.add("queries seconds", subject, seconds)

    def reaction(self, subjects: tuple[str, ...], waiting: float, each: int) -> None:
        """All wait at the same time, each for a database of its own."""
        jobs = random.sample(subjects * each, len(subjects) * each)

        def one(number: int) -> None:
            time.sleep(number * STAGGER)
            phase = random.uniform(0, 2)  # else a fixed pause between tries would always meet the same moment
            seconds = measure.time_reaction(self.lab, jobs[number], waiting + phase)
            self.add(f"reaction after {waiting:g} s", jobs[number], seconds)

        with ThreadPoolExecutor(len(jobs)) as pool:
            list(pool.map(one, range(len(jobs))))

    def outages(self, subjects: tuple[str, ...], rounds: dict[str, int]) -> None:
        with Proxy(self.lab.server.port) as network:
            services = {subject: self.lab.start(subject, network.port) for subject in subjects}
            for fault, times in rounds.items():
                for _ in range(times):
                    for subject, service in services.items():
                        measure.until(partial(measure.ok, service))
                        time.sleep(0.3 + random.random())  # any moment between two checks
                        reported, recovered = measure.time_outage(self.lab, service, network, fault)
                        self.add(f"{fault} reported", subject, reported)
                        self.add(f"{fault} recovered", subject, recovered)
            for service in services.values():
                measure.end(service)

    def frozen_picture(self) -> None:
        """Ten probes a second, sent whether or not the last one was answered; the server is frozen from 3 s to 9 s."""
        services = {subject: self.lab.start(subject) for subject in PICTURED}
        for service in services.values():
            measure.until(partial(measure.ok, service))
        began = time.monotonic()

        def probe(subject: str, at: float) -> None:
            time.sleep(max(0.0, began + at - time.monotonic()))
            with suppress(OSError):
                answer = services[subject].ask("/health")
                for name, value in (("at", at), ("ms", answer.seconds * 1000), ("status", answer.status)):
                    self.add(f"picture {subject}", name, value)

        def freeze_and_thaw() -> None:
            time.sleep(3)
            self.lab.server.freeze()
            time.sleep(6)
            self.lab.server.thaw()

        with ThreadPoolExecutor(160) as pool:
            jobs = [pool.submit(probe, subject, at / 10) for at in range(140) for subject in PICTURED]
            freezing = threading.Thread(target=freeze_and_thaw)
            freezing.start()
            for job in jobs:
                job.result()
            freezing.join()
        for service in services.values():
            measure.end(service)

    def stop(self, subjects: tuple[str, ...], rounds: int) -> None:
        for _ in range(rounds):
            for subject in subjects:
                for waiting in (True, False):
                    for as_pid_1 in (True, False):
                        if waiting and subject == "per_probe":
                            continue  # it never waits
                        seconds, code = measure.time_stop(self.lab, subject, waiting, as_pid_1)
                        figure = (
                            f"stop {'waiting' if waiting else 'serving'} {'as PID 1' if as_pid_1 else 'as a child'}"
                        )
                        self.add(figure, subject, seconds)
                        self.add(f"{figure} code", subject, code)

    def growth(self) -> None:
        """What the service holds after its first probes and outages, after 10⁵ probes, and after 500 outages."""
        with Proxy(self.lab.server.port) as network, self.lab.running("service", network.port) as service:

            def outages(times: int) -> None:
                for number in range(times):
                    measure.time_outage(self.lab, service, network, ["refuse", "reset", "close"][number % 3])

            def look(when: str) -> None:
                time.sleep(2)  # what ends with an outage has ended
                held = measure.footprint(self.lab, service)
                for name, value in zip(("memory", "threads", "files", "connections"), held, strict=True):
                    self.add(f"growth {name}", when, value)

            measure.load(service, "/health", 2)
            outages(10)
            look("at first")
            probes = 0.0
            while probes < 100_000:
                probes += 5 * measure.load(service, "/health", 5).rate
            look("after")
            outages(500)
            look("after")

    def fleet(self) -> None:
        for way in fleet.WAYS:
            for _ in range(100):
                figures = ("fleet logins", "fleet peak", "fleet peak after 1 s")
                for figure, value in zip(figures, fleet.simulate(way), strict=True):
                    self.add(figure, way, value)


def main() -> None:
    """Runs the steps with a progress bar, prints the goals, and after a full run writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only what the goals need, about 4 minutes")
    quick = parser.parse_args().quick
    if not measure.WRK:
        console.print("wrk is not installed (apt-get install wrk): a slower load generator in Python stands in.")
    began = time.monotonic()
    columns = (
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("a database server", total=None)
        with Lab() as lab:
            database = lab.server.sql("SELECT VERSION()")[0][0]
            bench = Bench(lab, quick)
            steps = bench.steps()
            progress.update(bar, total=sum(step.seconds for step in steps))
            for step in steps:
                progress.update(bar, description=step.name)
                step_began = time.monotonic()
                step.run()
                progress.advance(bar, step.seconds)
                console.print(f"{step.name}: {time.monotonic() - step_began:.0f} s")

    minutes = (time.monotonic() - began) / 60
    if not quick:
        here = Path(__file__).parent
        report.write(bench.samples, database, measure.LOAD_GENERATOR, minutes, here / "RESULTS.md")
        plots.write(bench.samples, here)
    show = Table("goal", "at", "measured: median (min to max)", "met")
    for goal in report.goals(bench.samples):
        show.add_row(goal.what, goal.goal, goal.figure, "yes" if goal.met else "[bold red]no")
    console.print(show)
    console.print(f"{minutes:.1f} minutes")


if __name__ == "__main__":
    main()
