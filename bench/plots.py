"""The plots of the report, as SVG."""

from pathlib import Path
from statistics import median

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 10, "axes.grid": True})

from matplotlib import pyplot as plt  # noqa: E402  after the choice of the backend
from report import Samples  # noqa: E402

LABELS = {
    "service": "this service",
    "live": "this service, /health/live",
    "tutorial": "tutorial way",
    "prestart": "prestart script",
    "per_probe": "fastapi-health",
    "bare_route": "bare FastAPI route",
    "bare_asgi": "bare ASGI callable",
}
COLOURS = {
    "service": "#0a7d4f",
    "live": "#5fb894",
    "tutorial": "#c0504d",
    "prestart": "#d98c3f",
    "per_probe": "#6f6fb5",
}
GREY = "#999999"


def write(samples: Samples, folder: Path) -> None:
    """reaction.svg, throughput.svg and frozen.svg."""
    reaction(samples, folder / "reaction.svg")
    throughput(samples, folder / "throughput.svg")
    frozen(samples, folder / "frozen.svg")


def reaction(samples: Samples, path: Path) -> None:
    """How long the database was up before the service said so; the bar is the median, a dot is one start."""
    waits = [figure for figure in samples if figure.startswith("reaction")]
    subjects = [subject for subject in COLOURS if subject in samples[waits[0]]]
    figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for number, subject in enumerate(subjects):
        for place, wait in enumerate(waits):
            at = place + (number - (len(subjects) - 1) / 2) * 0.2
            values = samples[wait][subject]
            label = LABELS[subject] if place == 0 else None
            axes.bar(at, median(values), 0.18, color=COLOURS[subject], alpha=0.75, label=label)
            axes.scatter([at] * len(values), values, s=9, color="black", zorder=3)
    axes.set_xticks(range(len(waits)), [wait.removeprefix("reaction ") + " of waiting" for wait in waits])
    axes.set_ylabel("seconds until 200")
    axes.set_title("The database comes up: how long until /health says 200")
    axes.legend()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def throughput(samples: Samples, path: Path) -> None:
    """Requests a second with the database up, and of those that ask it, refused and frozen."""
    rows = [
        (f"{LABELS[subject]}, {state}", subject, samples[f"load {state} rate"][subject])
        for state in ("up", "refused", "frozen")
        for subject in LABELS
        if subject in samples[f"load {state} rate"]
    ]
    figure, axes = plt.subplots(figsize=(7, 0.6 + 0.28 * len(rows)), layout="constrained")
    for place, (_, subject, values) in enumerate(rows):
        middle = median(values)
        spread = [[middle - min(values)], [max(values) - middle]]
        axes.barh(place, middle, color=COLOURS.get(subject, GREY), xerr=spread, error_kw={"lw": 1})
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.invert_yaxis()
    axes.set_xlabel("requests a second, 16 connections: median, minimum and maximum")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def frozen(samples: Samples, path: Path) -> None:
    """Every probe as a dot: when it was sent, how long it took, and whether it said 200."""
    subjects = [subject for subject in COLOURS if f"picture {subject}" in samples]
    figure, rows = plt.subplots(len(subjects), sharex=True, sharey=True, figsize=(7, 5), layout="constrained")
    for axes, subject in zip(rows, subjects, strict=True):
        picture = samples[f"picture {subject}"]
        probes = list(zip(picture["at"], picture["ms"], picture["status"], strict=True))
        for good, colour, label in ((True, "#0a7d4f", "200"), (False, "#c0504d", "not 200")):
            dots = [(at, ms) for at, ms, status in probes if (status == 200) == good]
            axes.scatter([at for at, _ in dots], [ms for _, ms in dots], s=10, color=colour, label=label)
        axes.axvspan(3, 9, color="#bbbbbb", alpha=0.4, label="server frozen")
        axes.set_yscale("log")
        axes.set_ylabel("ms")
        axes.set_title(LABELS[subject], loc="left", fontsize=10)
    rows[0].legend(loc="upper right", ncols=3)
    rows[-1].set_xlabel("seconds at which the probe was sent")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
