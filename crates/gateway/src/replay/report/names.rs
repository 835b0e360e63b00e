//! What keys are called in a report: cut where they are too long, and never two of them alike.

use std::collections::{HashMap, HashSet};

use crate::values::output::{beginning, columns, ending, fits, printable};

/// The names of all keys that a report shows, in all of its tables the same.
#[derive(Debug)]
pub(super) struct Names(HashMap<String, String>);

impl Names {
    /// Names of at most `width` columns for `keys`; those that fit are themselves.
    pub(super) fn new<'k>(keys: impl IntoIterator<Item = &'k str>, width: usize) -> Self {
        let (mut names, mut taken) = (HashMap::new(), HashSet::new());
        let mut long = Vec::new();
        let mut seen = HashSet::new();
        for key in keys.into_iter().filter(|key| seen.insert(*key)) {
            let text = visible(key);
            if fits(&text, width) && taken.insert(text.clone()) {
                names.insert(key.to_owned(), text);
            } else {
                long.push((key, text));
            }
        }
        // Where to go on with the numbers of those that are cut alike.
        let mut next: HashMap<String, u64> = HashMap::new();
        for (key, text) in long {
            let next = next.entry(cut(&text, width, 1)).or_insert(if fits(&text, width) { 2 } else { 1 });
            let name = loop {
                let name = cut(&text, width, *next);
                *next += 1;
                if !taken.contains(&name) {
                    break name;
                }
            };
            taken.insert(name.clone());
            names.insert(key.to_owned(), name);
        }
        Self(names)
    }

    pub(super) fn of<'n>(&'n self, key: &'n str) -> &'n str {
        self.0.get(key).map_or(key, String::as_str)
    }
}

/// `key` with all that cannot be seen spelled out: blanks at its ends, too.
fn visible(key: &str) -> String {
    let text = printable(key);
    let inner = text.trim_matches(' ');
    let before = text.len() - text.trim_start_matches(' ').len();
    let after = text.len() - inner.len() - before;
    let blanks = |count: usize| "\\u{20}".repeat(count);
    format!("{}{inner}{}", blanks(before), blanks(after))
}

/// The beginning and the end of `text`; where that is another's name already, the beginning and a number.
fn cut(text: &str, width: usize, number: u64) -> String {
    let room = width.saturating_sub(1);
    match number {
        1 => format!("{}…{}", beginning(text, room - room / 2), ending(text, room / 2)),
        _ => {
            let mark = format!("…#{number}");
            format!("{}{mark}", beginning(text, width.saturating_sub(columns(&mark))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(keys: &[&str], width: usize) -> Vec<String> {
        let names = Names::new(keys.iter().copied(), width);
        keys.iter().map(|key| names.of(key).to_owned()).collect()
    }

    #[test]
    fn what_fits_is_itself_and_the_rest_is_cut_in_the_middle() {
        assert_eq!(names(&["2001:db8::/64", "/a/long/path/to/x"], 13), ["2001:db8::/64", "/a/lon…h/to/x"]);
        assert_eq!(names(&["", " a ", "a"], 13), ["", "\\u{20}a\\u{20}", "a"]);
    }

    #[test]
    fn no_two_keys_look_alike() {
        let alike = ["/api/one/items", "/api/two/items", "/api/…items", "/api/six/items", "/api/one/items"];
        assert_eq!(names(&alike, 11), ["/api/one…#2", "/api/two…#3", "/api/…items", "/api/six…#4", "/api/one…#2"]);
        assert_eq!(names(&["\u{7}", "\\u{7}"], 9), ["\\u{7}", "\\u{7}…#2"]);
        let many: Vec<String> = (0..2_000).map(|number| format!("/{}/{number}/x", "日".repeat(30))).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).chain(["a\u{200b}", "a", "a "]).collect();
        for width in [8, 16, 24, 40] {
            let shown = names(&many, width);
            assert_eq!(shown.iter().collect::<HashSet<_>>().len(), many.len());
            assert!(shown.iter().all(|name| columns(name) <= width), "{width}");
        }
    }
}
