//! What the scripts answer. Whatever is not exactly that is unreadable, and never a yes.

use crate::rule::{Evidence, Rule};
use crate::span::Span;

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
    pub(crate) fn mine(&self) -> u64 {
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

fn number(value: &impl Said) -> Option<u64> {
    match value.integer() {
        Some(number) => u64::try_from(number).ok(),
        None => value.text()?.parse().ok(),
    }
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
