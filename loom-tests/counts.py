"""Writes what `ci/loom.sh` counted into the table of README.md: `ci/loom.sh | python3 loom-tests/counts.py`.

A row is | model | what it shows | threads x calls | explorer | loom | rmw | Shuttle |; the last four are written here. A model
without a row, or a row without a model, is an error: the table is complete or it is not written.
"""

import pathlib
import re
import sys

README = pathlib.Path(__file__).with_name("README.md")
WITNESSES = ["explorer", "loom", "rmw", "shuttle"]


def count(extent, outcomes):
    """The figure of a witness: how many states, executions, or outcomes of those there are."""
    number = re.search(r"(\d+) (states|executions|schedules)", extent)
    if not number:
        sys.exit(f"counts: no figure in {extent!r}")
    if number[2] == "schedules":
        return outcomes.replace(" outcomes", "")
    return f"{int(number[1]):,}" + (" (cut off)" if "cut off" in extent else "")


def main():
    counts, witness = {}, None
    for line in sys.stdin:
        sys.stdout.write(line)
        if heading := re.match(r"== (\w+)", line):
            witness = heading[1]
        if "MODEL | " in line:
            name, extent, _, outcomes = line[line.index("MODEL | ") + 8 :].strip().split(" | ")
            counts.setdefault(name, {})[witness] = count(extent, outcomes)
    lines, rows = [], set()
    for line in README.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[0] not in ("model", "---"):
            rows.add(cells[0])
            found = counts.get(cells[0])
            if found:
                cells[3:] = [found.get(witness, "") or old for witness, old in zip(WITNESSES, cells[3:])]
            line = "| " + " | ".join(cells) + " |"
        lines.append(line)
    if missing := counts.keys() - rows:
        sys.exit(f"counts: no row for {', '.join(sorted(missing))}")
    README.write_text("\n".join(lines) + "\n")
    print(f"counts: {len(counts)} models written, {len(rows) - len(counts)} rows left as they were")


main()
