//! Rate strings: what is read and as what, what is refused and where, and that printing is the inverse of reading.

use std::time::Duration;

use proptest::prelude::*;
use tollgate::error::ParseQuotaError;
use tollgate::{Algorithm, Quota, WindowStart, parse_quotas};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

fn quota(count: u64, nanos: u64) -> Quota {
    Quota::new(count, Duration::from_nanos(nanos)).expect("a valid quota")
}

fn refused(text: &str) -> ParseQuotaError {
    parse_quotas(text).expect_err(text)
}

/// The single rates of the Python package `limits`.
#[test]
fn limits_notation() {
    let cases = [
        ("10/second", 10, SECOND),
        ("10/seconds", 10, SECOND),
        ("10 per minute", 10, MINUTE),
        ("10 per minutes", 10, MINUTE),
        ("1/hour", 1, HOUR),
        ("3 per 2 hours", 3, 2 * HOUR),
        ("5/day", 5, DAY),
        ("5/days", 5, DAY),
        ("5/month", 5, 30 * DAY),
        ("5/2 months", 5, 60 * DAY),
        ("5/year", 5, 360 * DAY),
        ("5/10years", 5, 3_600 * DAY),
        ("10per5minutes", 10, 5 * MINUTE),
        ("10/5minutes", 10, 5 * MINUTE),
        ("10perminute", 10, MINUTE),
        ("10  PER  2  hours", 10, 2 * HOUR),
        ("10 Per 1 MiNuTeS", 10, MINUTE),
        ("  10 / minute  ", 10, MINUTE),
        ("10/minute\n", 10, MINUTE),
        ("\t10\r\n/\x0b5\x0cminute \n\n", 10, 5 * MINUTE),
        ("\x1c10\x1d/\x1e5\x1fminute", 10, 5 * MINUTE),
        ("10\u{a0}per\u{2003}minute\u{85}", 10, MINUTE),
        ("0/second", 0, SECOND),
        ("1/0 second", 1, SECOND),
        ("1/000second", 1, SECOND),
        ("007/08 second", 7, 8 * SECOND),
        ("00000000000000000000000000000001/second", 1, SECOND),
        ("18446744073709551615/second", u64::MAX, SECOND),
    ];
    for (text, count, nanos) in cases {
        assert_eq!(text.parse(), Ok(quota(count, nanos)), "{text:?}");
        assert_eq!(parse_quotas(text), Ok(vec![quota(count, nanos)]), "{text:?}");
    }
}

/// What this crate adds to that notation.
#[test]
fn additions() {
    let spellings: [(u64, &[&str]); 10] = [
        (1, &["nanosecond", "nanoseconds", "ns"]),
        (1_000, &["microsecond", "microseconds", "us"]),
        (1_000_000, &["millisecond", "milliseconds", "ms"]),
        (SECOND, &["second", "seconds", "sec", "secs", "s"]),
        (MINUTE, &["minute", "minutes", "min", "mins", "m"]),
        (HOUR, &["hour", "hours", "hr", "hrs", "h"]),
        (DAY, &["day", "days", "d"]),
        (7 * DAY, &["week", "weeks", "w"]),
        (30 * DAY, &["month", "months"]),
        (360 * DAY, &["year", "years"]),
    ];
    for (nanos, names) in spellings {
        for name in names {
            assert_eq!(format!("3/{name}").parse(), Ok(quota(3, nanos)), "{name}");
            assert_eq!(format!("3per7{}", name.to_uppercase()).parse(), Ok(quota(3, 7 * nanos)), "{name}");
        }
    }
    let bursts = [
        ("100/s burst 20", 20),
        ("100/s burst=20", 20),
        ("100/s burst = 20 ", 20),
        ("100/s BURST20", 20),
        ("100/s\nburst\t20\n", 20),
        ("100/s burst 0", 0),
        ("100/s burst 100", 100),
        ("100/s burst 18446744073709551615", u64::MAX),
    ];
    for (text, burst) in bursts {
        assert_eq!(text.parse(), Ok(Quota::per_second(100).with_burst(burst)), "{text:?}");
    }
}

#[test]
fn lists() {
    let both = vec![Quota::per_minute(10), Quota::per_hour(5)];
    for text in [
        "10/minute;5/hour",
        "10/minute, 5/hour",
        "10/minute|5/hour",
        " 10 per minute ; 5 per hour ",
        "10/minute:;5/hour",
        "10/minute :, 5/hour",
        "10/m\n;\n5/h\n",
    ] {
        assert_eq!(parse_quotas(text), Ok(both.clone()), "{text:?}");
    }
    let three = vec![Quota::per_second(1), Quota::per_minute(2).with_burst(9), Quota::per_second(1)];
    assert_eq!(parse_quotas("1/s, 2/m burst 9:| 1/s"), Ok(three));
    assert_eq!(parse_quotas(&vec!["1/s"; 10_000].join(";")).map(|quotas| quotas.len()), Ok(10_000));
}

/// Text, the byte at which it goes wrong, what was expected there, what was found.
#[test]
fn refusals() {
    let (amount, per, unit) = ("an amount (digits)", "`/` or `per`", "a unit (second, minute,");
    let (separator, burst) = ("a separator (`,`, `;` or `|`) or the end", "a burst (digits)");
    let (debt, algorithm) = ("a debt, such as `30 seconds`", "an algorithm (token-bucket, ");
    let cases = [
        ("", 0, amount, ""),
        ("  ", 2, amount, ""),
        ("\n", 1, amount, ""),
        ("minute", 0, amount, "minute"),
        ("/minute", 0, amount, "/"),
        ("-1/second", 0, amount, "-"),
        ("+1/second", 0, amount, "+"),
        ("１/second", 0, amount, "１"),
        ("٣/second", 0, amount, "٣"),
        ("10", 2, per, ""),
        ("10 ", 3, per, ""),
        ("10 minute", 3, per, "minute"),
        ("10 pe", 3, per, "pe"),
        ("10 p\u{e9}r minute", 3, per, "p\u{e9}r"),
        ("1.5/second", 1, per, "."),
        ("1_000/day", 1, per, "_"),
        ("1e3/day", 1, per, "e3"),
        ("10 20 per minute", 3, per, "20"),
        ("1１/second", 1, per, "１"),
        ("10/", 3, unit, ""),
        ("10 per", 6, unit, ""),
        ("10/5", 4, unit, ""),
        ("10/5 ", 5, unit, ""),
        ("10/fortnight", 3, unit, "fortnight"),
        ("10 / 5 / minute", 7, unit, "/"),
        ("10 per per minute", 7, unit, "per"),
        ("10/perminute", 3, unit, "perminute"),
        ("10//minute", 3, unit, "/"),
        ("10/-5 minute", 3, unit, "-"),
        ("10/1.5 minute", 4, unit, "."),
        ("10/５minute", 3, unit, "５minute"),
        ("10/minutess", 3, unit, "minutess"),
        ("10/ss", 3, unit, "ss"),
        ("10/ſecond", 3, unit, "ſecond"),
        ("10/wee\u{212a}", 3, unit, "wee\u{212a}"),
        ("10/minuteburst 5", 3, unit, "minuteburst"),
        ("10/5 6 minutes", 5, unit, "6"),
        ("10/minute;", 10, amount, ""),
        ("10/minute; ", 11, amount, ""),
        ("1/s;;2/s", 4, amount, ";"),
        ("1/s; ,2/s", 5, amount, ","),
        (";1/s", 0, amount, ";"),
        ("a;;b", 0, amount, "a"),
        ("1/s:", 3, separator, ":"),
        ("1/s::;2/s", 3, separator, ":"),
        ("1/s: ;2/s", 3, separator, ":"),
        ("1/s;:2/s", 4, amount, ":"),
        ("10/minute 5/hour", 10, separator, "5"),
        ("10/minute5/hour", 9, separator, "5"),
        ("10/minute 5", 10, separator, "5"),
        ("10/minute x", 10, separator, "x"),
        ("10/minute.", 9, separator, "."),
        ("10/minute\u{200b}", 9, separator, "\u{200b}"),
        ("10/minute\0", 9, separator, "\0"),
        ("10/s burst", 10, burst, ""),
        ("10/s burst=", 11, burst, ""),
        ("10/s burst==5", 11, burst, "="),
        ("10/s burst -5", 11, burst, "-"),
        ("10/s burst x", 11, burst, "x"),
        ("10/s burst; 5/m", 10, burst, ";"),
        ("10/s burst 5 burst 5", 13, separator, "burst"),
        ("10 burst 5/s", 3, per, "burst"),
        ("10/s debt", 9, debt, ""),
        ("10/s debt minute", 10, debt, "minute"),
        ("10/s debt = = 5 s", 12, debt, "="),
        ("10/s debt 5", 11, unit, ""),
        ("10/s debt 5 burst 5", 12, unit, "burst"),
        ("10/s debt 1.5 s", 11, unit, "."),
        ("10/s debt 5 s debt 5 s", 14, separator, "debt"),
        ("10/s as", 7, algorithm, ""),
        ("10/s as ;", 8, algorithm, ";"),
        ("10/s as bucket", 8, algorithm, "bucket"),
        ("10/s as token bucket", 8, algorithm, "token"),
        ("10/s as token_bucket", 8, algorithm, "token"),
        ("10/s as fixed-window-", 8, algorithm, "fixed-window-"),
        ("10/s as 5", 8, algorithm, "5"),
        ("10/s as fixed-window as fixed-window", 21, separator, "as"),
        ("10/s as fixed-window x", 21, separator, "x"),
        ("unlimitedly", 0, amount, "unlimitedly"),
        ("unlimited5", 0, amount, "unlimited5"),
        ("unlimited 5/s", 10, separator, "5"),
        ("blocked/s", 7, separator, "/"),
    ];
    for (text, position, expected, found) in cases {
        let error = refused(text);
        assert_eq!((error.position(), error.found()), (position, found), "{text:?}: {error}");
        assert!(error.expected().starts_with(expected), "{text:?}: {error}");
        assert!(text.parse::<Quota>().is_err(), "{text:?}");
    }
}

#[test]
fn a_single_rate_is_not_a_list() {
    for (text, position) in [("1/s;2/m", 3), ("1/s burst 5 , 2/m", 12), ("1/s:;2/m", 3), ("1/s;", 3), ("1/s x", 4)] {
        let error = text.parse::<Quota>().expect_err(text);
        assert_eq!((error.position(), error.expected()), (position, "the end of a single rate"), "{text}");
    }
}

/// Each bound is accepted, and the next value refused with the value and the bound.
#[test]
fn bounds() {
    let most = u64::MAX.to_string();
    let days = Quota::MAX_PERIOD.as_secs() / 86_400;
    let period = format!("a period of at most {days} days");
    let debt = "a debt of at most 18446744073709551615.999999999 seconds";
    let max_nanos = Quota::MAX_PERIOD.as_nanos();
    for text in [format!("1/{days} days"), format!("1/{max_nanos}ns"), format!("{most}/s burst {most}")] {
        assert!(text.parse::<Quota>().is_ok(), "{text}");
    }
    let cases = [
        ("18446744073709551616/s", 0, format!("an amount of at most {most}"), "18446744073709551616"),
        ("1/s; 99999999999999999999/s", 5, format!("an amount of at most {most}"), "99999999999999999999"),
        ("1/s burst 18446744073709551616", 10, format!("a burst of at most {most}"), "18446744073709551616"),
        ("1/3661 days", 2, period.clone(), "3661 days"),
        ("1/s debt 18446744073709551616 s", 9, debt.into(), "18446744073709551616 s"),
        ("1/s debt 18446744073709551616000000000ns", 9, debt.into(), "18446744073709551616000000000n..."),
        // Beyond 128 bits: the number, and the product, also where that would come round to less than a second.
        ("1/s debt 340282366920938463463374607432 seconds", 9, debt.into(), "340282366920938463463374607432..."),
        ("1/s debt 340282366920938463463374607431768211456ns", 9, debt.into(), "340282366920938463463374607431..."),
        ("1/s debt 340282366920938463463374607431768211455years", 9, debt.into(), "340282366920938463463374607431..."),
        ("1 per 523 weeks; 1/s", 6, period.clone(), "523 weeks"),
        ("1/123 months", 2, period.clone(), "123 months"),
        ("1/11years burst 7", 2, period.clone(), "11years"),
        ("1/316224000000000001ns", 2, period.clone(), "316224000000000001ns"),
        // Overflows 64 bits: in the multiple, and in the product only.
        ("1/18446744073709551616 ns", 2, period.clone(), "18446744073709551616"),
        ("1/18446744073709551615 years", 2, period.clone(), "18446744073709551615 years"),
        ("1/18446744074 seconds", 2, period.clone(), "18446744074 seconds"),
    ];
    for (text, position, expected, found) in cases {
        let error = refused(text);
        assert_eq!((error.position(), error.expected(), error.found()), (position, &*expected, found), "{text}");
    }
}

#[test]
fn printed_errors() {
    let unit = "expected a unit (second, minute, hour, day, week, month, year, ms, us, ns)";
    let cases = [
        ("10/fortnight", format!("at column 4 of `10/fortnight`: {unit}, found `fortnight`")),
        ("", "at column 1 of ``: expected an amount (digits), `unlimited` or `blocked`, found the end".into()),
        ("10\n", "at column 4 of `10\\n`: expected `/` or `per`, found the end".into()),
        // Columns count characters, positions bytes.
        ("10\u{a0}per\u{a0}é", format!("at column 8 of `10\\u{{a0}}per\\u{{a0}}é`: {unit}, found `é`")),
        ("1/'\"", format!("at column 3 of `1/'\"`: {unit}, found `'`")),
    ];
    for (text, printed) in cases {
        assert_eq!(refused(text).to_string(), printed);
    }
    assert_eq!(refused("10\u{a0}per\u{a0}é").position(), 9);
}

/// A long text is cut on both sides of the place that is wrong, and what was found there is cut as well.
#[test]
fn long_texts() {
    let text = format!("{}5/{}", "1/s; ".repeat(1_000), "x".repeat(1_000_000));
    let error = refused(&text);
    assert_eq!((error.position(), error.found()), (5_002, &*format!("{}...", "x".repeat(30))));
    let printed = error.to_string();
    let shown = format!("`...{}5/{}...`: ", &"1/s; ".repeat(8)[2..], "x".repeat(40));
    assert!(printed.starts_with(&format!("at column 5003 of {shown}")), "{printed}");

    let printed = refused(&"9".repeat(1_000_000)).to_string();
    assert!(printed.starts_with("at column 1 of `9") && printed.len() < 300, "{printed}");
    assert!(refused(&"é".repeat(1_000_000)).to_string().len() < 400);
    assert_eq!(refused(&" ".repeat(1_000_000)).position(), 1_000_000);

    // Short enough to be shown whole, wherever it goes wrong.
    let text = format!("{}/fortnight", "0".repeat(60));
    assert!(refused(&text).to_string().contains(&format!("`{text}`")));
    // Eighty characters are; of one more, no more than forty before the place that is wrong.
    for (before, after, shown) in [(41, 39, "0"), (40, 41, "0"), (41, 40, "...0")] {
        let text = format!("{}{}", "0".repeat(before), "!".repeat(after));
        assert!(refused(&text).to_string().contains(&format!("of `{shown}")), "{before} and {after}");
    }
}

#[test]
fn printed_quotas() {
    let cases = [
        (Quota::per_minute(10), "10 per 1 minute"),
        (quota(0, SECOND), "0 per 1 second"),
        (quota(5, 30 * SECOND), "5 per 30 second"),
        (quota(5, 90 * SECOND), "5 per 90 second"),
        (quota(5, 120 * SECOND), "5 per 2 minute"),
        (quota(5, 36 * HOUR), "5 per 36 hour"),
        (quota(5, 7 * DAY), "5 per 7 day"),
        (quota(5, 360 * DAY), "5 per 360 day"),
        (quota(5, 1_500_000_000), "5 per 1500 millisecond"),
        (quota(5, 1_000), "5 per 1 microsecond"),
        (quota(5, SECOND + 1), "5 per 1000000001 nanosecond"),
        (quota(5, SECOND).with_burst(10), "5 per 1 second burst 10"),
        (quota(5, SECOND).with_burst(0), "5 per 1 second burst 0"),
        (quota(5, SECOND).with_burst(5), "5 per 1 second"),
    ];
    for (quota, printed) in cases {
        assert_eq!(quota.to_string(), printed);
        assert_eq!(printed.parse(), Ok(quota));
    }
    let padded = Quota::per_second(5).with_burst(6);
    assert_eq!(format!("[{padded:>26}]"), "[    5 per 1 second burst 6]");
    assert_eq!(format!("[{padded:*<26}]"), "[5 per 1 second burst 6****]");
    assert_eq!(format!("[{padded:.5}]"), "[5 per]");
}

#[test]
fn printed_settings() {
    let plain = Quota::per_minute(10);
    let debt = |seconds, nanos| plain.with_max_debt(Duration::new(seconds, nanos));
    let cases = [
        (plain.with_algorithm(Algorithm::TokenBucket), ""),
        (plain.with_algorithm(Algorithm::FixedWindow), " as fixed-window"),
        (debt(0, 0), " debt 0 second"),
        (debt(30, 0), " debt 30 second"),
        (debt(7_200, 0), " debt 2 hour"),
        (debt(0, 1), " debt 1 nanosecond"),
        (debt(1, 500_000_000), " debt 1500 millisecond"),
        (debt(u64::MAX, 0), " debt 18446744073709551615 second"),
        (debt(u64::MAX, 999_999_999), " debt 18446744073709551615999999999 nanosecond"),
        (debt(30, 0).with_burst(20).with_algorithm(Algorithm::LeakyBucket), " burst 20 debt 30 second as leaky-bucket"),
    ];
    for (quota, settings) in cases {
        let printed = format!("10 per 1 minute{settings}");
        assert_eq!(quota.to_string(), printed);
        assert_eq!(printed.parse(), Ok(quota));
        // In short, without how it is counted.
        let short = if quota.burst() == 20 { "10 per 1 minute burst 20" } else { "10 per 1 minute" };
        assert_eq!((format!("{quota:#}"), format!("{quota:#>30}").len()), (short.into(), printed.len().max(30)));
    }
    for (quota, word) in [(Quota::unlimited(), "unlimited"), (Quota::blocked(), "blocked")] {
        assert_eq!(
            (quota.to_string(), format!("{quota:#}"), format!("[{quota:>10}]")),
            (word.into(), word.into(), format!("[{word:>10}]"))
        );
    }
}

/// In any order, each at most once, in either case, with blanks or without.
#[test]
fn settings() {
    let all =
        Quota::per_second(5).with_burst(9).with_max_debt(Duration::from_secs(90)).with_algorithm(Algorithm::SlidingLog);
    for text in [
        "5/s burst 9 debt 90 seconds as sliding-log",
        "5/s as sliding-log debt 90s burst 9",
        "5/s DEBT=90S BURST=9 AS=Sliding-LOG",
        "5/s\ndebt\t= 90 sec as\u{a0}SLIDING-LOG\nburst=9 ",
        "5/s burst9debt90s assliding-log",
    ] {
        assert_eq!(text.parse(), Ok(all), "{text:?}");
        assert_eq!(parse_quotas(&format!("1/s;{text}:,2/s")).map(|quotas| quotas[1]), Ok(all), "{text:?}");
    }
    let windows = Quota::per_minute(9).with_algorithm(Algorithm::FixedWindow);
    let (first_hit, counted) = (windows.with_window_start(WindowStart::FirstHit), windows.with_refused_counted(true));
    for (quota, text) in [
        (first_hit, "9 per 1 minute as fixed-window first-hit"),
        (counted, "9 per 1 minute as fixed-window refused-counted"),
        (first_hit.with_refused_counted(true), "9 per 1 minute as fixed-window first-hit refused-counted"),
    ] {
        assert_eq!((text.parse(), quota.to_string()), (Ok(quota), text.to_owned()));
    }
    assert_eq!("9/m REFUSED-counted First-Hit AS=fixed-window".parse(), Ok(first_hit.with_refused_counted(true)));
    assert!("9/m first-hit first-hit".parse::<Quota>().is_err() && "9/m first".parse::<Quota>().is_err());
    for algorithm in Algorithm::ALL {
        assert_eq!(format!("5/s as {algorithm}").parse(), Ok(Quota::per_second(5).with_algorithm(algorithm)));
    }
}

#[test]
fn no_limit_and_nothing_but_a_limit() {
    for (word, quota) in [("unlimited", Quota::unlimited()), ("blocked", Quota::blocked())] {
        for text in [word.to_owned(), word.to_uppercase(), format!(" \n{word}\t"), format!("\u{a0}{word}\x1f")] {
            assert_eq!(text.parse(), Ok(quota), "{text:?}");
            assert_eq!(parse_quotas(&format!("{text};5/s,{text}")), Ok(vec![quota, Quota::per_second(5), quota]));
        }
        assert_ne!(quota, self::quota(quota.count(), SECOND), "no number is taken for it");
        assert_eq!(quota.to_string().parse(), Ok(quota));
    }
    // Nothing that is not exactly the word.
    let words = [
        "",
        " ",
        "unlimite",
        "unlimitedx",
        "unlimited1",
        "unlimitedé",
        "un limited",
        "un-limited",
        "no limit",
        "none",
        "inf",
        "infinite",
        "off",
        "null",
        "0",
        "-1",
        "*",
        "unlimited burst 5",
        "unlimited as fixed-window",
        "unlimited/second",
        "5/unlimited",
        "unlimited 5/s",
        "blocked5",
        "block",
        "unlımıted",
        "UNLİMİTED",
        "\u{200b}unlimited",
        "blocked blocked",
    ];
    for text in words {
        assert!(text.parse::<Quota>().is_err() && parse_quotas(text).is_err(), "{text:?}");
    }
    for text in ["5/s,", "unlimited,", ";unlimited", "unlimited;;5/s"] {
        assert!(parse_quotas(text).is_err(), "{text:?}");
    }
}

#[test]
fn the_error_is_an_ordinary_one() {
    fn is_error<E: std::error::Error + Send + Sync + Clone + PartialEq + 'static>() {}
    is_error::<ParseQuotaError>();
}

/// What must hold of any text at all.
fn sound(text: &str) -> Result<(), TestCaseError> {
    match parse_quotas(text) {
        Ok(quotas) => {
            prop_assert!(!quotas.is_empty());
            let printed: Vec<_> = quotas.iter().map(Quota::to_string).collect();
            prop_assert_eq!(text.parse::<Quota>().ok(), (quotas.len() == 1).then(|| quotas[0]));
            prop_assert_eq!(parse_quotas(&printed.join(", ")), Ok(quotas));
        }
        Err(error) => {
            let (position, printed) = (error.position(), error.to_string());
            prop_assert!(text.is_char_boundary(position), "{}", printed);
            prop_assert_eq!(error.found().is_empty(), position == text.len());
            prop_assert!(text[position..].starts_with(error.found()) || error.found().ends_with("..."));
            let column = text[..position].chars().count() + 1;
            prop_assert!(printed.starts_with(&format!("at column {column} of `")), "{}", printed);
            prop_assert!(!printed.contains(char::is_control) && printed.chars().count() < 1_500);
            prop_assert!(text.parse::<Quota>().is_err());
        }
    }
    Ok(())
}

fn any_quota() -> impl Strategy<Value = Quota> {
    let max = u64::try_from(Quota::MAX_PERIOD.as_nanos()).expect("below 2^59");
    let unit = prop::sample::select(vec![1, 1_000, 1_000_000, SECOND, MINUTE, HOUR, DAY, 7 * DAY]);
    let period = prop_oneof![1..=max, (unit, 1..=500_u64).prop_map(|(unit, n)| unit * n)];
    let debt = prop_oneof![
        (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos)),
        (0..=100_000_u64).prop_map(Duration::from_secs),
    ];
    let settings = (any::<Option<u64>>(), prop::option::of(debt), prop::sample::select(Algorithm::ALL.to_vec()));
    let rate = (any::<u64>(), period, settings, any::<[bool; 2]>());
    let rate = rate.prop_map(|(count, nanos, (burst, debt, algorithm), [first_hit, refused_counted])| {
        let quota = quota(count, nanos).with_burst(burst.unwrap_or(count)).with_algorithm(algorithm);
        let quota = if first_hit { quota.with_window_start(WindowStart::FirstHit) } else { quota };
        let quota = quota.with_refused_counted(refused_counted);
        debt.map_or(quota, |debt| quota.with_max_debt(debt))
    });
    prop_oneof![20 => rate, 1 => Just(Quota::unlimited()), 1 => Just(Quota::blocked())]
}

proptest! {
    #[test]
    fn any_text(text: String) {
        sound(&text)?;
    }

    #[test]
    fn text_of_the_right_letters(text in "[0-9smhdwperbut/:;,| =\n\u{a0}é]{0,60}") {
        sound(&text)?;
    }

    #[test]
    fn text_of_the_right_words(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "1", "0", "20", "99999999999999999999", " ", "\t", "/", "per", "PER", "second", "minutes", "H", "ms",
                "year", "burst", "=", ";", ",", "|", ":", "é", "x", "debt", "as", "As", "fixed-window", "sliding-log", "-",
                "unlimited", "Blocked",
            ]),
            0..12,
        ),
        head in prop::sample::select(vec!["", "5/m", "5/m;", "5/m burst", " 5 per ", "5/m as", "5/s debt 9", "unlimited"]),
    ) {
        sound(&format!("{head}{}", words.concat()))?;
    }

    #[test]
    fn any_quota_survives_the_round_trip(quotas in prop::collection::vec(any_quota(), 1..5), separator in "[;,|]") {
        for &quota in &quotas {
            prop_assert_eq!(quota.to_string().parse(), Ok(quota));
        }
        let printed: Vec<_> = quotas.iter().map(Quota::to_string).collect();
        prop_assert_eq!(parse_quotas(&printed.join(&separator)), Ok(quotas));
    }
}
