//! Tables that fit: what is at the right goes under its row where there is no room beside it.

use std::fmt::{Result, Write};

use crate::values::output::columns;

/// A column: its heading, and how wide it is at least.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    head: &'static str,
    least: usize,
    is_number: bool,
}

impl Column {
    pub(super) const fn text(head: &'static str, least: usize) -> Self {
        Self { head, least, is_number: false }
    }

    pub(super) const fn number(head: &'static str, least: usize) -> Self {
        Self { head, least, is_number: true }
    }
}

/// Rows of cells under headings.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<(Vec<String>, String)>,
}

impl Table {
    pub(super) fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.row_with(cells, String::new());
    }

    /// A row and what is said under it.
    pub(super) fn row_with(&mut self, cells: impl IntoIterator<Item = String>, below: String) {
        self.rows.push((cells.into_iter().collect(), below));
    }

    /// Writes it into `text`, in `width` columns if its first column leaves room for that.
    pub(super) fn write(&self, text: &mut String, width: usize) -> Result {
        let cell = |row: &[String], column: usize| row.get(column).map_or(0, |cell| columns(cell));
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let widest = self.rows.iter().map(|(row, _)| cell(row, at)).max().unwrap_or(0);
                widest.max(column.least).max(columns(column.head))
            })
            .collect();
        let mut used = 0;
        let beside = widths.iter().take_while(|wide| {
            used += **wide + 2;
            used <= width
        });
        let beside = beside.count().max(1);
        let heads: Vec<String> = self.columns.iter().map(|column| column.head.to_owned()).collect();
        self.line(text, &heads, &widths[..beside])?;
        for (row, below) in &self.rows {
            self.line(text, row, &widths[..beside])?;
            let under = self.columns.iter().zip(row).skip(beside).filter(|(_, value)| !value.is_empty());
            let mut under: Vec<String> = under.map(|(column, value)| format!("{} {value}", column.head)).collect();
            if !below.is_empty() {
                under.push(below.clone());
            }
            if !under.is_empty() {
                writeln!(text, "    {}", under.join(", "))?;
            }
        }
        Ok(())
    }

    fn line(&self, text: &mut String, cells: &[String], widths: &[usize]) -> Result {
        let mut line = String::new();
        for ((column, cell), width) in self.columns.iter().zip(cells).zip(widths) {
            let room = " ".repeat(width.saturating_sub(columns(cell)));
            let (left, right) = if column.is_number { (room.as_str(), "") } else { ("", room.as_str()) };
            write!(line, "  {left}{cell}{right}")?;
        }
        writeln!(text, "{}", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_beside_goes_under() {
        let mut table = Table::new([Column::text("key", 0), Column::number("refused", 9), Column::text("by", 0)]);
        table.row(["日本", "1,234", "10 per minute"].map(str::to_owned));
        table.row_with(["a", "5", ""].map(str::to_owned), "more".to_owned());
        let at = |width| {
            let mut text = String::new();
            table.write(&mut text, width).unwrap();
            text
        };
        let beside = "  key     refused  by\n  日本      1,234  10 per minute\n  a             5\n    more\n";
        assert_eq!((at(32), at(80)), (beside.to_owned(), beside.to_owned()));
        assert_eq!(at(31), "  key     refused\n  日本      1,234\n    by 10 per minute\n  a             5\n    more\n");
        assert_eq!(at(0), "  key\n  日本\n    refused 1,234, by 10 per minute\n  a\n    refused 5, more\n");
    }
}
