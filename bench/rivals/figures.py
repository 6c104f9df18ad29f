"""What a run gave, how two compare, and the tables."""

from dataclasses import dataclass
from statistics import median


@dataclass
class Figures:
    """One measured run of one side."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # for each transfer, over all servers and the client


@dataclass
class Ratios:
    """Spandrel over PostgreSQL."""

    per_second: float
    p50: float
    p99: float
    cpu: float

    @classmethod
    def of(cls, ours, theirs):
        return cls(
            ours.per_second / theirs.per_second,
            ours.p50_ms / theirs.p50_ms,
            ours.p99_ms / theirs.p99_ms,
            ours.cpu_us / theirs.cpu_us,
        )


@dataclass
class Floor:
    """What a median of ratios must reach."""

    what: str  # a field of Ratios
    limit: float
    is_minimum: bool

    def verdict(self, ratios):
        value = median(getattr(each, self.what) for each in ratios)
        is_met = value >= self.limit if self.is_minimum else value <= self.limit
        word = "at least" if self.is_minimum else "at most"
        name = {"per_second": "throughput", "p50": "median latency"}[self.what]
        return is_met, f"{name} {word} {self.limit} of PostgreSQL's: {value:.2f}, {'met' if is_met else 'MISSED'}"


def percentile(ascending, share):
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]


HEAD = f"{'round':>5}  {'case':<13} {'':<10} {'per s':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>8}"
RATIO_HEAD = f"{'case':<13} {'rounds':>6} " + "".join(f"{name:>20}" for name in ("per s", "p50", "p99", "CPU"))


def row(number, case, side, figures):
    return (
        f"{number:>5}  {case:<13} {side:<10} {figures.per_second:>8.0f} {figures.p50_ms:>8.2f} "
        f"{figures.p99_ms:>8.2f} {figures.cpu_us:>8.0f}"
    )


def ratio_row(number, case, ratios):
    return (
        f"{number:>5}  {case:<13} {'ratio':<10} {ratios.per_second:>8.2f} {ratios.p50:>8.2f} "
        f"{ratios.p99:>8.2f} {ratios.cpu:>8.2f}"
    )


def median_row(case, ratios):
    def cell(what):
        values = [getattr(each, what) for each in ratios]
        return f"{median(values):.2f} ({min(values):.2f}..{max(values):.2f})"

    cells = "".join(f"{cell(what):>20}" for what in ("per_second", "p50", "p99", "cpu"))
    return f"{case:<13} {len(ratios):>6} {cells}"
