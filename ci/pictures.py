"""Draws the figures of a folder, as `ci/pictures.sh` measured them, as SVG: plain shapes and text, on white."""

import math
import pathlib
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 860, 480
# The plot's own corner points; to its right is room for the names of the lines.
LEFT, TOP, RIGHT, BOTTOM = 74, 62, 660, 396
INK, FAINT, GRID = "#1f2430", "#5b6472", "#e3e6eb"
# Told apart by people who see no red or green as well (Okabe and Ito); ours are the blues.
COLOURS = {
    "tollgate, exact": "#0072b2",
    "tollgate, cached": "#56b4e9",
    "tollgate, 32 at once": "#009e73",
    "tollgate, hit": "#0072b2",
    "tollgate, insert": "#009e73",
    "governor": "#d55e00",
    "governor, hit": "#d55e00",
    "governor, insert": "#e69f00",
    "mutexed map": "#cc79a7",
    "floor": "#8a919c",
    "bare CAS loop": "#8a919c",
    "the timer alone": "#8a919c",
}
NAMES = {
    "floor": "floor: hash, counter, CAS",
    "tollgate, exact": "tollgate, exact time",
    "tollgate, cached": "tollgate, cached time",
    "tollgate, 32 at once": "tollgate, 32 keys at once",
    "mutexed map": "mutex and hash map",
}
DASHED = {"floor", "bare CAS loop", "the timer alone"}
FONT = "ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"


def table(path):
    """The lines of a file, as dictionaries; lines that begin with # are remarks."""
    lines = [line.split("\t") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return [dict(zip(lines[0], line)) for line in lines[1:]]


class Axis:
    """From values to points; `log` spreads decades evenly."""

    def __init__(self, low, high, start, end, log):
        self.low, self.high, self.start, self.end, self.log = low, high, start, end, log

    def at(self, value):
        scale = math.log10 if self.log else float
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.start + share * (self.end - self.start)


class Picture:
    """One SVG file in the making."""

    def __init__(self, title, subtitle, machine):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
            f' role="img" font-family="{FONT}">',
            f"<title>{escape(title)}</title>",
            # White beneath, so that the ink is legible on a dark page as well.
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#ffffff"/>',
        ]
        self.text(LEFT - 50, 28, title, size=17, weight=600)
        self.text(LEFT - 50, 48, subtitle, size=12.5, fill=FAINT)
        self.text(LEFT - 50, HEIGHT - 14, machine, size=11, fill=FAINT)

    def text(self, x, y, text, size=12.0, fill=INK, anchor="start", weight=400, turn=None):
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"'
            f' font-weight="{weight}"{turned}>{escape(text)}</text>'
        )

    def line(self, x1, y1, x2, y2, stroke=GRID, width=1.0):
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" stroke-width="{width}"/>'
        )

    def axes(self, x, x_ticks, x_name, y, y_ticks, y_name):
        for value, label in x_ticks:
            self.line(x.at(value), y.end, x.at(value), y.start)
            self.text(x.at(value), y.start + 18, label, fill=FAINT, anchor="middle")
        for value, label in y_ticks:
            self.line(x.start, y.at(value), x.end, y.at(value))
            self.text(x.start - 8, y.at(value) + 4, label, fill=FAINT, anchor="end")
        self.line(x.start, y.start, x.end, y.start, stroke=FAINT)
        self.text((x.start + x.end) / 2, y.start + 38, x_name, size=12.5, anchor="middle")
        self.text(x.start - 52, (y.start + y.end) / 2, y_name, size=12.5, anchor="middle", turn=-90)

    def series(self, who, points, band=None, dots=True):
        colour = COLOURS[who]
        if band:
            low, high = band
            outline = " ".join(f"{a:.1f},{b:.1f}" for a, b in low + high[::-1])
            self.parts.append(f'<polygon points="{outline}" fill="{colour}" fill-opacity="0.14"/>')
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        dash = ' stroke-dasharray="5 4"' if who in DASHED else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round"{dash}/>'
        )
        if dots:
            for a, b in points:
                self.parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.2" fill="{colour}"/>')

    def names(self, ends):
        """The name of each line at its end, moved apart where they would overlap."""
        ends = sorted(ends, key=lambda end: end[1])
        places = []
        for _, y in ends:
            places.append(max(y, places[-1] + 17 if places else TOP + 4))
        over = max(0, places[-1] - BOTTOM)
        places = [place - over for place in places]
        for (who, y), place in zip(ends, places):
            self.line(RIGHT + 4, y, RIGHT + 16, place, stroke=COLOURS[who])
            self.text(RIGHT + 20, place + 4, NAMES.get(who, who), fill=COLOURS[who], weight=600)

    def save(self, path):
        path.write_text("\n".join([*self.parts, "</svg>", ""]))


def by_name(rows, names=None):
    """The rows of each contender, in the order of first appearance."""
    groups = {}
    for row in rows:
        if names is None or row["who"] in names:
            groups.setdefault(row["who"], []).append(row)
    return groups


def count(value):
    """1 k, 10 M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"


def duration(nanos):
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if nanos >= size:
            return f"{nanos / size:g} {unit}"
    return f"{nanos:g} ns"


def steps(low, high, per_decade=(1, 2, 5)):
    """Round values between two, for a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [step * 10**decade for decade in decades for step in per_decade]
    return [value for value in values if low <= value <= high]


def keys(folder, machine):
    shown = ["governor", "tollgate, exact", "floor", "tollgate, cached", "tollgate, 32 at once"]
    groups = by_name(table(folder / "keys.tsv"), shown)
    all_rows = [row for rows in groups.values() for row in rows]
    x = Axis(1e3, 1e7, LEFT, RIGHT, log=True)
    lowest = min(float(row["ns_q1"]) for row in all_rows) / 1.2
    highest = max(float(row["ns_q3"]) for row in all_rows) * 1.2
    y = Axis(lowest, highest, BOTTOM, TOP, log=True)
    picture = Picture(
        "Cost of an allowed check",
        "one thread, uniform keys, all of them busy; lines are medians, bands the middle half; lower is better",
        machine,
    )
    ticks = [(value, count(value)) for value in (1e3, 1e4, 1e5, 1e6, 1e7)]
    picture.axes(x, ticks, "keys", y, [(value, f"{value:,g}") for value in steps(lowest, highest)], "nanoseconds a check")
    ends = []
    for who, rows in groups.items():
        def line(column, rows=rows):
            return [(x.at(float(row["keys"])), y.at(float(row[column]))) for row in rows]
        picture.series(who, line("ns"), (line("ns_q1"), line("ns_q3")))
        ends.append((who, line("ns")[-1][1]))
    picture.names(ends)
    picture.save(folder / "keys.svg")


def threads(folder, machine):
    path = folder / "threads.tsv"
    cores = int(path.read_text().splitlines()[0].split("\t")[1])
    rows = table(path)
    numbers = sorted({int(row["threads"]) for row in rows})
    picture = Picture(
        "Checks of all threads together",
        "one million uniform keys, and one hot key; medians, with the middle half; higher is better",
        machine,
    )
    panels = (("1 M keys", LEFT, 404), ("one hot key", 500, WIDTH - 30))
    for keys_name, left, right in panels:
        groups = by_name([row for row in rows if row["keys"] == keys_name])
        # The bare loop would flatten all others: told in words instead.
        loop = groups.pop("bare CAS loop", None)
        highest = max(float(row["q3"]) for group in groups.values() for row in group) * 1.1
        y = Axis(0, highest, BOTTOM - 34, TOP + 40, log=False)
        step = next(size for size in (0.5, 1, 2, 5, 10, 20, 50, 100, 200) if highest / size <= 8)
        ticks = [(index * step, f"{index * step:g}") for index in range(int(highest / step) + 1)]
        for value, label in ticks:
            picture.line(left, y.at(value), right, y.at(value))
            picture.text(left - 8, y.at(value) + 4, label, fill=FAINT, anchor="end")
        picture.text((left + right) / 2, TOP + 14, keys_name, size=13, anchor="middle", weight=600)
        picture.text(left - 44, (y.start + y.end) / 2, "million checks a second", size=12.5, anchor="middle", turn=-90)
        room = (right - left) / len(numbers)
        width = min(30.0, room * 0.8 / len(groups))
        for place, number in enumerate(numbers):
            middle = left + room * (place + 0.5)
            label = f"{number} thread{'s' if number > 1 else ''}"
            picture.text(middle, y.start + 18, label, fill=FAINT, anchor="middle")
            if number > cores:
                picture.text(middle, y.start + 33, f"on {cores} cores", size=11, fill=FAINT, anchor="middle")
            for index, (who, group) in enumerate(groups.items()):
                row = next(row for row in group if int(row["threads"]) == number)
                bar = middle + (index - len(groups) / 2) * width
                top = y.at(float(row["calls_per_us"]))
                picture.parts.append(
                    f'<rect x="{bar + 1:.1f}" y="{top:.1f}" width="{width - 2:.1f}" height="{y.start - top:.1f}"'
                    f' fill="{COLOURS[who]}" rx="1.5"/>'
                )
                picture.line(bar + width / 2, y.at(float(row["q1"])), bar + width / 2, y.at(float(row["q3"])), INK, 1.2)
        picture.line(left, y.start, right, y.start, stroke=FAINT)
        if loop:
            told = ", ".join(f"{float(row['calls_per_us']):.0f}" for row in loop)
            words = f"(a bare compare-and-swap loop: {told})"
            picture.text((left + right) / 2, TOP + 31, words, size=11, fill=FAINT, anchor="middle")
    at = LEFT
    for who, room in (("tollgate, exact", 178), ("governor", 112), ("mutexed map", 0)):
        picture.parts.append(f'<rect x="{at}" y="{BOTTOM + 16}" width="12" height="12" rx="2" fill="{COLOURS[who]}"/>')
        picture.text(at + 18, BOTTOM + 26.5, NAMES.get(who, who), fill=COLOURS[who], weight=600)
        at += room
    picture.save(folder / "threads.svg")


def latency(folder, machine):
    groups = by_name(table(folder / "latency.tsv"))
    x = Axis(10, 1e8, LEFT, RIGHT, log=True)
    least = 1e-6
    y = Axis(least, 1, BOTTOM, TOP, log=True)
    picture = Picture(
        "How many checks take longer",
        "hits among a million keys, and inserts (every key new; governor swept every 50 ms); further left is better",
        machine,
    )
    x_ticks = [(10**power, duration(10**power)) for power in range(1, 9)]
    shares = {1: "all", 0.1: "1 in 10", 0.01: "1 in 100", 1e-3: "1 in 1 k", 1e-4: "1 in 10 k", 1e-5: "1 in 100 k",
              1e-6: "1 in 1 M"}
    picture.axes(x, x_ticks, "took longer than", y, list(shares.items()), "")
    ends = []
    for who, rows in groups.items():
        points, last = [], 1.0
        for row in rows:
            nanos, longer = max(10.0, float(row["ns"])), float(row["longer"])
            # A step down: until here the share was that of before.
            points.append((x.at(nanos), y.at(max(last, least))))
            points.append((x.at(nanos), y.at(max(longer, least))))
            last = longer
            if longer < least:
                break
        picture.series(who, points, dots=False)
        ends.append(who)
    for index, who in enumerate(ends):
        at = TOP + 10 + 20 * index
        picture.line(RIGHT + 14, at, RIGHT + 38, at, stroke=COLOURS[who], width=2.6)
        picture.text(RIGHT + 44, at + 4, NAMES.get(who, who), fill=COLOURS[who], weight=600)
    picture.save(folder / "latency.svg")


def main():
    folder = pathlib.Path(sys.argv[1])
    machine = (folder / "machine.txt").read_text().strip()
    for draw in (keys, threads, latency):
        draw(folder, machine)
        print(folder / f"{draw.__name__}.svg")


main()
