//! The keys that say what a refused client is told.

use tollgate_http::Answer;
use tollgate_http::answer::{AnswerError, Dialect, RefusalBody, RetryAfter, RetryForm, Template};

use super::item::{Item, Table};

/// What a refused client is told, and others with it.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: RefusalBody,
    pub(crate) dialect: Dialect,
    pub(crate) on_success: bool,
    pub(crate) retry_after: RetryAfter,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            status: 429,
            body: RefusalBody::default(),
            dialect: Dialect::default(),
            on_success: true,
            retry_after: RetryAfter::default(),
        }
    }
}

impl Reply {
    pub(crate) fn answer(&self) -> Result<Answer, AnswerError> {
        let answer = Answer::new()
            .with_body(self.body.clone())
            .with_dialect(self.dialect)
            .with_headers_on_success(self.on_success)
            .with_retry_after(self.retry_after);
        answer.with_status(self.status)
    }
}

pub(crate) fn read(table: &mut Table<'_, '_>) -> Reply {
    let mut reply = Reply::default();
    table.set("status", &mut reply.status, |item| item.number(400..=599));
    table.set("body", &mut reply.body, |item| body(&item));
    table.set("headers", &mut reply.dialect, |item| item.parse());
    table.set("headers_on_success", &mut reply.on_success, |item| item.flag());
    let forms = [("seconds", RetryForm::Seconds), ("date", RetryForm::HttpDate)];
    table.set("retry_after", &mut reply.retry_after.form, |item| item.choice(&forms));
    table.set("retry_jitter", &mut reply.retry_after.jitter, |item| item.duration());
    reply
}

/// One of the built-in bodies by its name, or a text with its type.
fn body(item: &Item<'_>) -> Option<RefusalBody> {
    if !item.is_table() {
        return item.parse();
    }
    item.table(|table| {
        let mut kind = "application/json";
        table.set("content_type", &mut kind, |item| item.text());
        let text = table.require("text", "what a refused client reads")?;
        text.accept(Template::new(kind, text.text()?)).map(RefusalBody::Custom)
    })?
}
