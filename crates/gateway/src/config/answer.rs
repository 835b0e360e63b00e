//! The keys that say what a refused client is told.

use tollgate_http::{Answer, Body, RetryAfter, RetryForm, Template};

use super::item::{Item, Table};

pub(crate) fn read(table: &mut Table<'_, '_>) -> Answer {
    let mut answer = Answer::new();
    let mut retry_after = RetryAfter::default();
    if let Some(item) = table.get("status")
        && let Some(status) = item.number(400..=599)
    {
        answer = item.accept(answer.clone().with_status(status)).unwrap_or(answer);
    }
    if let Some(body) = table.get("body").and_then(|item| body(&item)) {
        answer = answer.with_body(body);
    }
    if let Some(dialect) = table.get("headers").and_then(|item| item.parse()) {
        answer = answer.with_dialect(dialect);
    }
    if let Some(on_success) = table.get("headers_on_success").and_then(|item| item.flag()) {
        answer = answer.with_headers_on_success(on_success);
    }
    let forms = [("seconds", RetryForm::Seconds), ("date", RetryForm::HttpDate)];
    table.set("retry_after", &mut retry_after.form, |item| item.choice(&forms));
    table.set("retry_jitter", &mut retry_after.jitter, |item| item.duration());
    answer.with_retry_after(retry_after)
}

/// One of the built-in bodies by its name, or a text with its type.
fn body(item: &Item<'_>) -> Option<Body> {
    if !item.is_table() {
        return item.parse();
    }
    item.table(|table| {
        let mut kind = "application/json";
        table.set("content_type", &mut kind, |item| item.text());
        let text = table.require("text", "what a refused client reads")?;
        text.accept(Template::new(kind, text.text()?)).map(Body::Custom)
    })?
}
