//! What the scripts answer. Whatever is not exactly that is unreadable, and never a yes.

use crate::rule::{Evidence, Rule};
use crate::span::{MAX_NUMBER, Span};

/// One limit's part of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) fits: bool,
    pub(crate) evidence: Evidence,
    /// Of a bucket: what it was before.
    pub(crate) before: Option<Before>,
}

impl Part {
    /// The window that counted the request, or the instant of a log: only that one gets it back. 0 for a bucket.
    pub(crate) const fn mine(&self) -> u64 {
        match &self.evidence {
            Evidence::Window { end, .. } | Evidence::Sliding { end, .. } => *end,
            Evidence::Log { last, .. } => *last,
            Evidence::Stamp { .. } | Evidence::None => 0,
        }
    }
}

/// A bucket before a debit, and the marks of its text after and before.
#[derive(Debug, Clone)]
pub(crate) struct Before {
    pub(crate) stamp: Span,
    pub(crate) mark: String,
    pub(crate) mark_after: String,
    pub(crate) surplus: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) enum Reply<T> {
    Decided {
        now: u64,
        is_yes: bool,
        answer: T,
    },
    /// Other quotas wrote these buckets: which, and the text.
    Changed {
        now: u64,
        texts: Vec<(usize, String)>,
    },
}

/// What a server said, as whichever client read it.
pub(crate) trait Said: Sized {
    fn integer(&self) -> Option<i64>;
    fn text(&self) -> Option<&str>;
    fn list(&self) -> Option<&[Self]>;
}

#[cfg(feature = "client")]
impl Said for redis::Value {
    fn integer(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::BulkString(bytes) => core::str::from_utf8(bytes).ok(),
            Self::SimpleString(text) => Some(text),
            _ => None,
        }
    }

    fn list(&self) -> Option<&[Self]> {
        if let Self::Array(values) = self { Some(values) } else { None }
    }
}

/// A number as the scripts write them: whole, and what a double holds exactly. So no sum or product of a figure wraps.
pub(crate) fn number(value: &impl Said) -> Option<u64> {
    let number = match value.integer() {
        Some(number) => u64::try_from(number).ok()?,
        None => value.text()?.parse().ok()?,
    };
    (number <= MAX_NUMBER).then_some(number)
}

fn text(value: &impl Said) -> Option<&str> {
    value.text()
}

fn list<V: Said>(value: &V) -> Option<&[V]> {
    value.list()
}

fn head<V: Said>(values: &[V]) -> Option<(u64, u64, &[V])> {
    let [code, now, rest @ ..] = values else { return None };
    Some((number(code)?, number(now)?, rest))
}

fn changed<T>(now: u64, rest: &[impl Said]) -> Option<Reply<T>> {
    let texts = list(rest.first()?)?.iter().map(|pair| {
        let [index, seen] = list(pair)? else { return None };
        Some((usize::try_from(number(index)?).ok()?.checked_sub(1)?, text(seen)?.to_owned()))
    });
    Some(Reply::Changed { now, texts: texts.collect::<Option<_>>()? })
}

/// The answer of `check`, one part for each rule.
pub(crate) fn check<'a>(value: &impl Said, rules: impl ExactSizeIterator<Item = &'a Rule>) -> Option<Reply<Vec<Part>>> {
    let (code, now, rest) = head(list(value)?)?;
    if code > 1 {
        return if code == 2 { changed(now, rest) } else { None };
    }
    if rest.len() != rules.len() {
        return None;
    }
    let parts = rules.zip(rest).map(|(rule, part)| part_of(rule, list(part)?)).collect::<Option<Vec<_>>>()?;
    // It says yes if all do, and only then.
    let is_yes = parts.iter().all(|part| part.fits);
    (is_yes == (code == 1)).then_some(Reply::Decided { now, is_yes, answer: parts })
}

fn part_of(rule: &Rule, values: &[impl Said]) -> Option<Part> {
    let fits = match number(values.first()?)? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let mut before = None;
    let evidence = match (rule, &values[1..]) {
        (Rule::Bucket(_) | Rule::Queue(_), [us, parts, mark_after, us_before, parts_before, mark, surplus]) => {
            before = Some(Before {
                stamp: Span { us: number(us_before)?, parts: number(parts_before)? },
                mark: text(mark)?.to_owned(),
                mark_after: text(mark_after)?.to_owned(),
                surplus: text(surplus)?.to_owned(),
            });
            Evidence::Stamp { stamp: Span { us: number(us)?, parts: number(parts)? } }
        }
        (Rule::Fixed(_) | Rule::First(_), [count, end]) => {
            Evidence::Window { count: number(count)?, end: number(end)? }
        }
        (Rule::Sliding(window), [previous, current, end, rest]) => {
            let (end, rest) = (number(end)?, number(rest)?);
            // So that no figure of it wraps.
            if rest > window.us || end < window.us {
                return None;
            }
            Evidence::Sliding { previous: number(previous)?, current: number(current)?, end, rest }
        }
        (Rule::Log(_), [count, must_leave, last]) => {
            Evidence::Log { count: number(count)?, must_leave: number(must_leave)?, last: number(last)? }
        }
        _ => return None,
    };
    Some(Part { fits, evidence, before })
}

/// The answer of `lease`: the request's part, and what the script says of the tokens in advance.
pub(crate) fn lease(value: &impl Said, rule: &Rule) -> Option<Reply<(Part, u64)>> {
    match head(list(value)?)? {
        (2, now, rest) => changed(now, rest),
        (code @ 0..=1, now, [part, ahead]) => {
            let part = part_of(rule, list(part)?)?;
            let is_yes = code == 1;
            (part.fits == is_yes).then_some(Reply::Decided { now, is_yes, answer: (part, number(ahead)?) })
        }
        _ => None,
    }
}

/// The answer of `adjust`: how much, as its rule has it. Nothing for a refund.
pub(crate) fn adjust(value: &impl Said) -> Option<Reply<Option<String>>> {
    match head(list(value)?)? {
        (1, now, []) => Some(Reply::Decided { now, is_yes: true, answer: None }),
        (1, now, [taken]) => Some(Reply::Decided { now, is_yes: true, answer: Some(text(taken)?.to_owned()) }),
        (2, now, rest) => changed(now, rest),
        _ => None,
    }
}

/// The answer of `undo`.
pub(crate) fn undo(value: &impl Said) -> Option<bool> {
    match head(list(value)?)? {
        (code @ 0..=1, _, []) => Some(code == 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    use crate::lease::anchor::Anchor;

    /// Whatever a server says that is none, or that others have written to: it is unreadable, or figures that nothing wraps in.
    #[test]
    fn no_answer_makes_a_panic() {
        let mut dice = fastrand::Rng::with_seed(5);
        let quotas = [
            "300/second",
            "7 per 60 days burst 3000 debt 30 days",
            "10/minute as leaky-queue",
            "9/day as fixed-window",
        ];
        let quotas = quotas.into_iter().chain(["50000/day as sliding-window", "1024 per 3600 days as sliding-log"]);
        let rules: Vec<Rule> = quotas.map(|quota| Rule::new(&quota.parse().unwrap()).unwrap()).collect();
        let (mut read, mut converted) = (0_u64, 0_u64);
        for round in 0..60_000 {
            let rule = &rules[round % rules.len()];
            let fields = match rule {
                Rule::Bucket(_) | Rule::Queue(_) => 8,
                Rule::Fixed(_) | Rule::First(_) => 3,
                Rule::Sliding(_) => 5,
                _ => 4,
            };
            let mut part: Vec<Value> = (0..fields).map(|_| any(&mut dice, 0)).collect();
            part[0] = Value::Int(dice.i64(0..2));
            let (code, ahead) = (part[0].clone(), any(&mut dice, 0));
            let mut answer = vec![code, any(&mut dice, 0), Value::Array(part)];
            if dice.u8(0..40) == 0 {
                let at = dice.usize(0..answer.len());
                answer[at] = any(&mut dice, 0);
            }
            let cost = [0, 1, 2, 1 << 40, u64::MAX][dice.usize(0..5)];
            let alone = check(&Value::Array(answer.clone()), [rule].into_iter());
            answer.push(ahead);
            let with_ahead = lease(&Value::Array(answer), rule);
            if let Some(Reply::Decided { now, is_yes, answer: parts }) = alone {
                read += 1;
                let _ = rule.report(cost, now, is_yes, &parts[0].evidence);
                let _ = rule.wait(cost, now, &parts[0].evidence);
            }
            if let Some(Reply::Decided { now, answer: (part, ahead), .. }) = with_ahead {
                let most = dice.u64(0..5_000);
                assert!(rule.ahead(most, ahead).is_none_or(|tokens| tokens <= most));
                let anchor = Anchor { sent: 5, read: 9, server_us: now };
                if let Evidence::Stamp { stamp } = part.evidence {
                    let until = anchor.until(stamp.us);
                    let _ = rule.lacks(cost, until.saturating_sub(7) / 1_000);
                }
            }
            let any_number = |dice: &mut fastrand::Rng| NUMBERS[dice.usize(0..NUMBERS.len())];
            let [us, f, count, burst, surplus, now] = [(); 6].map(|()| any_number(&mut dice));
            let text = format!("{us}:{f}{} {count}/{burst}+{surplus}", ["", "d", "p", "x"][dice.usize(0..4)]);
            let now = now.parse::<u64>().unwrap_or(0).min(MAX_NUMBER);
            converted += u64::from(rule.convert(&text, now).is_some());
            let _ = adjust(&any(&mut dice, 1)).is_some() | undo(&any(&mut dice, 1)).is_some();
            let _ = rule.taken(cost, &text);
        }
        assert!(read > 500 && converted > 500, "{read} were read, and {converted} converted");
    }

    const NUMBERS: [&str; 13] = [
        "0",
        "1",
        "7",
        "1796000000000000",
        "9007199254740992",
        "9007199254740993",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "-1",
        "1e9",
        "",
        "2251799813685248",
    ];

    fn any(dice: &mut fastrand::Rng, depth: u32) -> Value {
        match dice.u8(0..24) {
            0 => Value::Nil,
            1 => Value::BulkString(vec![0xFF, 0, b'1']),
            2 => Value::Double(1.5),
            3 => Value::Int(dice.i64(..)),
            4 | 5 if depth < 3 => Value::Array((0..dice.u8(0..5)).map(|_| any(dice, depth + 1)).collect()),
            6 => Value::SimpleString(NUMBERS[dice.usize(0..NUMBERS.len())].to_owned()),
            7..=12 => Value::Int(NUMBERS[dice.usize(0..NUMBERS.len())].parse().unwrap_or(i64::MIN)),
            13 => Value::BulkString(Vec::new()),
            _ => Value::BulkString(NUMBERS[dice.usize(0..5)].as_bytes().to_vec()),
        }
    }
}
