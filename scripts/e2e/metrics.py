"""Reads the Prometheus text format, strictly."""

import re
import urllib.error
import urllib.request

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Scrape:
    """One answer of /metrics: every series, and the type and help of every family."""

    def __init__(self, text):
        self.series = {}
        self.types = {}
        self.helps = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, family, kind = line.split(" ", 3)
                self.types[family] = kind
            elif line.startswith("# HELP "):
                _, _, family, words = line.split(" ", 3)
                self.helps[family] = words
            elif line:
                self._add(line)

    def _add(self, line):
        match = _SAMPLE.match(line)
        if not match:
            raise AssertionError(f"not a sample: {line!r}")
        name, labels, value = match.groups()
        key = (name, tuple(sorted(_LABEL.findall(labels or ""))))
        if key in self.series:
            raise AssertionError(f"twice in one scrape: {line!r}")
        self.series[key] = float(value)

    def total(self, name, **labels):
        """The sum of all series of that name that carry those labels; there must be one."""
        wanted = set(labels.items())
        values = [
            value for (series, have), value in self.series.items()
            if series == name and wanted <= set(have)
        ]
        if not values:
            raise AssertionError(f"no series {name} {labels or ''}")
        return sum(values)

    def counters(self):
        """All series that may only grow."""
        return {
            key: value for key, value in self.series.items()
            if self.types.get(key[0]) == "counter"
        }

    def went_back(self, earlier):
        """Counters of an earlier scrape that are smaller in this one, or missing."""
        now = self.counters()
        return [
            f"{name}{dict(labels)}: {before} → {now.get((name, labels))}"
            for (name, labels), before in earlier.counters().items()
            if now.get((name, labels), -1) < before
        ]


def fetch(url, timeout=5):
    """Status and text of a URL; the error's status when there is one."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
