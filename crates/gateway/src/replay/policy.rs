//! What is tried on the log: the limits, who shares a bucket, and who is exempt.

use tollgate::{Algorithm, Quota};

use super::args::ReplayArgs;
use super::exempt::{Exemption, is_exempt};
use super::ingest::{Keep, Kept};
use super::key::KeySpec;
use super::log::Request;
use crate::values::failure::Failure;

/// As many as one record, and one line of a report, can do with.
const MAX_LIMITS: usize = 64;

/// A policy, checked as far as it can be without an engine.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) quotas: Vec<Quota>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: KeySpec,
    pub(crate) exemptions: Vec<Exemption>,
}

impl Policy {
    pub(crate) fn new(args: &ReplayArgs) -> Result<Self, Failure> {
        let quotas: Vec<Quota> = args
            .limits
            .iter()
            .flat_map(|limits| &limits.0)
            .map(|quota| {
                // What the rate string says is closer to its limit and wins.
                let quota = match quota.algorithm() {
                    Algorithm::TokenBucket => quota.with_algorithm(args.algorithm),
                    _ => *quota,
                };
                match args.burst {
                    Some(burst) if quota.burst() == quota.count() => quota.with_burst(burst),
                    _ => quota,
                }
            })
            .collect();
        match quotas.len() {
            0 => Err(Failure::Usage("--limit holds no limit".to_owned())),
            1..=MAX_LIMITS => {
                Ok(Self { quotas, algorithm: args.algorithm, key: args.key.clone(), exemptions: args.exempt.clone() })
            }
            given => {
                Err(Failure::Usage(format!("at most {MAX_LIMITS} limits can be tried at once; {given} were given")))
            }
        }
    }
}

impl Policy {
    /// A limit; how it is counted only if not as the others are.
    pub(crate) fn shown(&self, quota: &Quota) -> String {
        if quota.algorithm() == self.algorithm { format!("{quota:#}") } else { quota.to_string() }
    }

    /// The policy in a line.
    pub(crate) fn title(&self) -> String {
        let limits: Vec<String> = self.quotas.iter().map(|quota| self.shown(quota)).collect();
        format!("{} for each {}, {}", limits.join(" and "), self.key, self.algorithm)
    }
}

/// Of a request its key is kept.
impl Keep for Policy {
    fn keep(&self, request: &Request<'_>, text: &mut String) -> Kept {
        if is_exempt(&self.exemptions, request) {
            Kept::Exempt
        } else if self.key.write(request, text) {
            Kept::Whole
        } else {
            Kept::Partly
        }
    }
}
