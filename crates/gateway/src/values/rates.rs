//! One `--limit` of the command line.

use std::str::FromStr;

use tollgate::Quota;
use tollgate::error::ParseQuotaError;

/// A rate string, which may hold several limits.
#[derive(Debug, Clone)]
pub(crate) struct Rates(pub(crate) Vec<Quota>);

impl FromStr for Rates {
    type Err = ParseQuotaError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        tollgate::parse_quotas(text).map(Self)
    }
}
