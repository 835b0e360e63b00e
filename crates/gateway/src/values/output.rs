//! Writing to standard output and standard error without `println!`, which panics when the reader has gone.

use std::io::{self, ErrorKind, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::values::failure::Failure;

/// Writes `text` to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::Io(format!("cannot write to standard output: {error}")),
    })
}

/// Each line of `what` on standard error. If that fails too, there is nothing left to do.
pub(crate) fn complain(what: &dyn std::fmt::Display) {
    let mut err = io::stderr().lock();
    for line in what.to_string().lines() {
        let _ = writeln!(err, "tollgate: {line}");
    }
}

/// `text` with control characters spelled out, so that nothing in a log can move the cursor or colour the screen, and those that
/// do not show, so that two texts that differ look different.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_direction_mark(c) || is_invisible(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The marks that reorder the text around them: with one, a log line could make a report read as something else.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Joiners, soft hyphens, selectors of variants and the like: they take no room of their own.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}' | '\u{2028}'
        | '\u{2029}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
}

/// How many columns of a terminal `text` takes, which is printable.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// Characters that are taken for each column: marks over letters take no column, and there may be any number of them.
const MARKS: usize = 4;

/// Whether `text` fits into `width` columns.
pub(crate) fn fits(text: &str, width: usize) -> bool {
    columns(text) <= width && text.chars().count() <= MARKS * width
}

/// Counts the characters that are too many for `width` columns.
fn is_over(width: usize) -> impl FnMut(char) -> bool {
    let (mut taken, mut count) = (0, 0);
    move |c| {
        taken += c.width().unwrap_or(0);
        count += 1;
        taken > width || count > MARKS * width
    }
}

/// As much of the beginning of `text` as fits into `width` columns.
pub(crate) fn beginning(text: &str, width: usize) -> &str {
    text.find(is_over(width)).map_or(text, |end| &text[..end])
}

/// As much of its end.
pub(crate) fn ending(text: &str, width: usize) -> &str {
    let Some(over) = text.rfind(is_over(width)) else { return text };
    let mut rest = text[over..].chars();
    rest.next();
    rest.as_str()
}

/// `text` in at most `width` columns, its end replaced by an ellipsis when it has to be cut.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if fits(text, width) { text.to_owned() } else { format!("{}…", beginning(text, width.saturating_sub(1))) }
}

/// `text` with every line that is longer than `width` columns continued on the next, further in; codes of colours take none.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        wrap(line, width, &mut out);
        out.push_str(end);
    }
    out
}

fn wrap(line: &str, width: usize, out: &mut String) {
    if columns(&without_codes(line)) <= width {
        out.push_str(line);
        return;
    }
    // A heading is between two codes.
    if let Some((code, inner)) = line.strip_prefix("\u{1b}[").and_then(|rest| rest.split_once('m'))
        && let Some(inner) = inner.strip_suffix("\u{1b}[0m")
        && !inner.contains('\u{1b}')
    {
        out.push_str(&format!("\u{1b}[{code}m"));
        wrap(inner, width, out);
        out.push_str("\u{1b}[0m");
        return;
    }
    let indent = line.len() - line.trim_start_matches(' ').len();
    let indent = if indent > width / 2 { 4 } else { indent + 2 };
    let room = width.saturating_sub(indent).max(1);
    let mut used = 0;
    let mut is_first = true;
    for word in line.split(' ') {
        let wide = columns(word);
        let space = usize::from(!is_first);
        is_first = false;
        if used + space + wide <= width {
            out.push_str(&" ".repeat(space));
            out.push_str(word);
            used += space + wide;
            continue;
        }
        // One that is longer than a line begins on this one if there is room worth it.
        let mut rest = word;
        if wide > room && used + 8 < width {
            out.push_str(&" ".repeat(space));
            used += space;
        } else {
            next_line(out, indent);
            used = indent;
        }
        loop {
            let fits = beginning(rest, width.saturating_sub(used));
            // Not even one letter fits: it must, or there would be no end.
            let fits = if fits.is_empty() { rest.split_inclusive(|_| true).next().unwrap_or_default() } else { fits };
            out.push_str(fits);
            rest = &rest[fits.len()..];
            if rest.is_empty() {
                used += columns(fits);
                break;
            }
            next_line(out, indent);
            used = indent;
        }
    }
}

fn next_line(out: &mut String, indent: usize) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
    out.push_str(&" ".repeat(indent));
}

/// `line` without our own codes of colours; a log's are spelled out.
fn without_codes(line: &str) -> std::borrow::Cow<'_, str> {
    if !line.contains('\u{1b}') {
        return line.into();
    }
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest)).into()
}

/// A whole number with its thousands set apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.char_indices() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `part` of `whole` as a percentage with one decimal, rounded half up.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0.0 %".to_owned();
    }
    let permille = (u128::from(part) * 2_000 + u128::from(whole)) / (u128::from(whole) * 2);
    format!("{}.{} %", permille / 10, permille % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_set_for_reading() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(2, 3), "66.7 %");
        assert_eq!(percent(1, 2_000), "0.1 %");
        assert_eq!(percent(0, 0), "0.0 %");
    }

    #[test]
    fn a_log_cannot_drive_the_terminal() {
        assert_eq!(printable("\u{1b}[31mred\u{7}"), "\\u{1b}[31mred\\u{7}");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(printable("plain / text é"), "plain / text é");
        assert_eq!(shortened("abcdef", 4), "abc…");
        assert_eq!(shortened("abcd", 4), "abcd");
        assert_eq!(printable("a\u{200b}b\u{ad}"), "a\\u{200b}b\\u{ad}");
    }

    #[test]
    fn columns_are_those_of_a_terminal() {
        assert_eq!((columns("日本"), columns("é"), columns("e\u{301}")), (4, 1, 1));
        assert_eq!((shortened("日本語", 5), shortened("日本語", 4)), ("日本…".to_owned(), "日…".to_owned()));
        assert_eq!(
            (ending("日本語", 5), ending("abc", 2), ending("abc", 9), ending("abc", 0)),
            ("本語", "bc", "abc", "")
        );
    }

    #[test]
    fn marks_over_a_letter_take_no_column_and_not_any_number_of_them() {
        let marks = format!("e{}", "\u{301}".repeat(1_000));
        assert_eq!(
            (columns(&marks), shortened(&marks, 4).chars().count(), ending(&marks, 4).chars().count()),
            (1, 13, 16)
        );
    }

    #[test]
    fn long_lines_go_on_further_in() {
        assert_eq!(wrapped("  one two three\nfour\n", 10), "  one two\n    three\nfour\n");
        assert_eq!(wrapped("a /a/path/without/blanks b", 10), "a /a/path/\n  without/\n  blanks b");
        let heading = "\u{1b}[1mone two\u{1b}[0m";
        assert_eq!(wrapped(heading, 7), heading);
        assert_eq!(wrapped(heading, 6), "\u{1b}[1mone\n  two\u{1b}[0m");
        assert_eq!(wrapped("日本", 1), "\n  日\n  本", "what cannot fit is shown all the same");
        for width in 1..40 {
            for line in wrapped("      a bb ccc dddd  日本語 f/g/h/i/j/k/l/m/n/o/p/q end", width).lines() {
                assert!(columns(line) <= width.max(8), "{width}: {line:?}");
            }
        }
    }
}
