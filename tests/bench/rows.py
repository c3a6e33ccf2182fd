"""A row of the benchmark: what is measured, of whom, and what is wanted."""
import dataclasses
import random
import statistics
import typing

OURS = "entrepot"
REFERENCE = "reference"  # what the row's name says


@dataclasses.dataclass
class Row:
    name: str
    unit: str
    measures: dict  # who -> a call that measures once
    wanted: list = dataclasses.field(default_factory=list)  # at_least(...), at_most(...)
    less_is_better: bool = False
    rounds: typing.Optional[int] = None  # None: as the command line says
    values: dict = dataclasses.field(default_factory=dict)  # who -> a value a round

    def measure(self, rounds):
        """All of them in turn, round after round, so that what else the machine does hits all alike."""
        who = list(self.measures)
        self.values = {w: [] for w in who}
        for _ in range(self.rounds or rounds):
            random.shuffle(who)
            for w in who:
                self.values[w].append(self.measures[w]())

    def median(self, who):
        return statistics.median(self.values[who]) if self.values.get(who) else None

    def ratio(self, other):
        """The median of the rounds' ratios; above 1 is in our favour."""
        if not self.values.get(other):
            return None
        ratios = [a / b for a, b in zip(self.values[OURS], self.values[other])]
        ratio = statistics.median(ratios)
        return 1 / ratio if self.less_is_better else ratio

    def reached(self):
        return all(met(self) for _, met in self.wanted)

    def as_dict(self):
        return {"name": self.name, "unit": self.unit, "less_is_better": self.less_is_better, "values": self.values,
                "medians": {w: self.median(w) for w in self.values},
                "ratios": {w: self.ratio(w) for w in self.values if w != OURS},
                "wanted": [text for text, _ in self.wanted], "reached": self.reached() if self.wanted else None}


def at_least(factor, other):
    return f">= {factor:.3g} x {other}", lambda row: row.ratio(other) >= factor


def at_most(limit):
    return f"<= {limit:g}", lambda row: row.median(OURS) <= limit
