//! The page: four files, which are part of the program.

use http::StatusCode;

use super::reply::{Reply, reply};

pub(crate) fn html() -> Reply {
    reply(StatusCode::OK, "text/html; charset=utf-8", include_str!("page/index.html"))
}

pub(crate) fn css() -> Reply {
    reply(StatusCode::OK, "text/css; charset=utf-8", include_str!("page/page.css"))
}

pub(crate) fn js() -> Reply {
    reply(StatusCode::OK, "text/javascript; charset=utf-8", include_str!("page/page.js"))
}

pub(crate) fn icon() -> Reply {
    reply(StatusCode::OK, "image/svg+xml", include_str!("page/icon.svg"))
}
