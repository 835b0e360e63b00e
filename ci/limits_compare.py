"""Compares the rate strings of this crate with those of the Python package `limits`; run by limits_compare.sh.

Strings are generated from the grammar, by mutation of what it gives, and from a list of known oddities. Of each:

- what `limits` accepts, the crate accepts with equal amounts and periods, unless a number is beyond the crate's bounds,
  and then the crate refuses it;
- what the crate accepts and `limits` does not is in the grammar of the crate's additions, with the values it gives;
- what that grammar has within bounds, the crate accepts.
"""

import random
import re
import subprocess
import sys
from collections import Counter

from limits import parse_many

MAX_AMOUNT = 2**64 - 1
MAX_PERIOD = 3660 * 86400 * 10**9
DAY = 86400 * 10**9

OURS = {}  # every unit the crate reads, by lower-case name
for names, nanos in [
    ("nanosecond nanoseconds ns", 1),
    ("microsecond microseconds us", 10**3),
    ("millisecond milliseconds ms", 10**6),
    ("second seconds sec secs s", 10**9),
    ("minute minutes min mins m", 60 * 10**9),
    ("hour hours hr hrs h", 3600 * 10**9),
    ("day days d", DAY),
    ("week weeks w", 7 * DAY),
    ("month months", 30 * DAY),
    ("year years", 360 * DAY),
]:
    OURS |= dict.fromkeys(names.split(), nanos)
THEIRS = {unit + s for unit in ("second", "minute", "hour", "day", "month", "year") for s in ("", "s")}

# Case is spelled out: re.IGNORECASE would also take the long s and the Kelvin sign.
PER = r"(?:/|[Pp][Ee][Rr])"
BURST = r"(?:[Bb][Uu][Rr][Ss][Tt]\s*=?\s*([0-9]+)\s*)?"
RATE = re.compile(rf"\s*([0-9]+)\s*{PER}\s*([0-9]*)\s*([A-Za-z]+)(?![A-Za-z])\s*{BURST}")
SEPARATOR = re.compile(r":?[,;|]")


def additions(text):
    """Reads `text` by the crate's documented grammar: the rates (or None), and whether an addition was used."""
    rates, used = [], False
    for part in SEPARATOR.split(text):
        match = RATE.fullmatch(part)
        unit = match and match[3].lower()
        if unit not in OURS:
            return None, False
        rates.append((int(match[1]), (int(match[2] or 1) or 1) * OURS[unit], int(match[4] or match[1])))
        used |= unit not in THEIRS or match[4] is not None
    return rates, used


def python(text):
    """Reads `text` with `limits`, in which a burst is always the amount."""
    try:
        return [(item.amount, item.get_expiry() * 10**9, item.amount) for item in parse_many(text)]
    except ValueError:
        return None


def within_bounds(rates):
    return all(count <= MAX_AMOUNT and period <= MAX_PERIOD and burst <= MAX_AMOUNT for count, period, burst in rates)


KNOWN = [
    "", " ", "\n", "10per5minutes", "10/5minutes", "10  PER  2  hours", " 10/minute ", "10/minute\n", "10/minute\n\n",
    "0/second", "1/0 second", "1/00second", "10/minute:;5/hour", "10/minute :;5/hour", "10/minute::;5/hour",
    "10/minute: ;5/hour", "10/minute;:5/hour", "10/minute:", "10/minute;", ";10/minute", "a;;b", "1/day;;1/day",
    "10 / 5 / minute", "1.5/second", "-1/second", "+1/second", "1_000/day", "\uff11/second", "1\u0663/second",
    "10/minute 5/hour", "10/minute5/hour", "10/perminute", "10 per per minute", "10perminute", "10/\u017fecond",
    "1/wee\u212a", "1/m\u0131nute", "1/mİnute", "10\x1c/\x1dminute\x1e\x1f", "10\xa0per\u2003minute\u3000",
    "10\u200bper minute", "10\u180eper minute", "\ufeff10/minute", "10\0/minute", "18446744073709551615/second",
    "18446744073709551616/second", "1/3660 days", "1/3661 days", "1/10 years", "1/11 years", "1/122 months",
    "1/123 months", "1/316224000 seconds", "1/316224001 seconds", "1/18446744073709551616 seconds",
    "1/18446744074 seconds", "1/18446744073709551615 years", "5/s", "5/m", "5/min", "1 per week", "1/ms",
    "100/s burst 20", "100/s burst=20", "100/s burst20", "100/s burst", "100/s burst 5 burst 5", "10/minute burst 5",
    "10/minuteburst 5", "10/minute burst 5:;5/hour", "1/s burst 18446744073709551616", "5/SS", "5/mss", "5/minutess",
]  # fmt: skip
NUMBERS = ["0", "00", "1", "5", "10", "007", "100", "3600", str(MAX_AMOUNT), str(MAX_AMOUNT + 1), "9" * 30]
MULTIPLES = ["0", "000", "1", "2", "05", "15", "30", "122", "123", "3660", "3661", "87840", "316224000", "9" * 25]
BLANKS = ["", "", "", " ", " ", "  ", "\t", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\xa0", "\u2003"]
LETTERS = "0123456789perburstsecondminutehourdaymonthyearweekmsusnsPERS"
LETTERS += "/:;,|=.-_+ \t\n\x00\x1d\xa0\uff11\u017f\u212aé"


def generate(rng):
    blank = lambda: rng.choice(BLANKS)

    def rate(with_additions):
        unit = rng.choice(sorted(OURS) if with_additions else sorted(THEIRS))
        unit = rng.choice([unit, unit, unit.upper(), unit.title()])
        per = rng.choice(["/", "/", "per", "per", "PER", "pEr"])
        multiple = rng.choice(["", "", str(rng.randrange(100)), rng.choice(MULTIPLES)])
        amount = rng.choice([str(rng.randrange(10**6)), rng.choice(NUMBERS)])
        burst = ""
        if with_additions and rng.random() < 0.5:
            burst = rng.choice([" ", " ", blank()]) + rng.choice(["burst", "BURST"]) + blank()
            burst += rng.choice(["", "", "="]) + blank() + rng.choice(NUMBERS)
        return blank() + amount + blank() + per + blank() + multiple + blank() + unit + burst + blank()

    def listed(with_additions):
        text = rate(with_additions)
        while rng.random() < 0.4:
            text += rng.choice(["", "", "", ":"]) + rng.choice(",;|") + rate(with_additions)
        return text

    def mutated(text):
        for _ in range(rng.choice([1, 1, 2, 3])):
            at = rng.randrange(len(text) + 1)
            to = min(len(text), at + rng.randrange(3))
            text = text[:at] + rng.choice(["", rng.choice(LETTERS), text[at:to] * 2]) + text[to:]
        return text

    plain = [listed(False) for _ in range(3000)]
    added = [listed(True) for _ in range(2000)]
    return KNOWN + plain + added + [mutated(text) for text in KNOWN + plain + added]


def crate(texts):
    lines = "".join(text.encode().hex() + "\n" for text in texts)
    command = ["cargo", "run", "--release", "--quiet", "--package", "tollgate", "--example", "parse_rates"]
    answers = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    if len(answers) != len(texts):
        sys.exit(f"limits_compare: {len(texts)} strings given, {len(answers)} answers")
    for answer, text in zip(answers, texts):
        verdict, _, value = answer.partition(" ")
        if verdict == "ok":
            yield [tuple(map(int, rate.split("/"))) for rate in value.split(",")]
        elif verdict == "err" and 0 <= int(value) <= len(text.encode()):
            yield None
        else:
            sys.exit(f"limits_compare: {text!r} was answered by {answer!r}")


def judge(text, ours):
    """Which kind of agreement `text` shows, and whether it is one."""
    theirs = python(text)
    documented, used = additions(text)
    if theirs is not None:
        if not within_bounds(theirs):
            return "beyond our bounds, refused", ours is None
        return "accepted by both, equal", ours == theirs and documented == theirs
    if ours is not None:
        return "ours alone, an addition", used and ours == documented
    if documented is not None:
        return "an addition beyond our bounds, refused", used and not within_bounds(documented)
    return "refused by both", True


def main():
    texts = list(dict.fromkeys(generate(random.Random(5_8_0))))
    agreed, wrong = Counter(), []
    for text, ours in zip(texts, crate(texts)):
        kind, agrees = judge(text, ours)
        if agrees:
            agreed[kind] += 1
        else:
            wrong.append(f"{text!r}: ours {ours}, limits {python(text)}, documented {additions(text)[0]}")
    print(f"{len(texts)} strings")
    for kind, count in agreed.most_common():
        print(f"{count:6} {kind}")
    print(f"{len(wrong):6} disagreements")
    for line in wrong[:20]:
        print(line)
    # A generator that no longer reaches a case would agree about it for nothing.
    sys.exit(1 if wrong or len(agreed) < 5 or min(agreed.values()) < 50 else 0)


if __name__ == "__main__":
    main()
