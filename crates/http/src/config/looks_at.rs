//! What of a request, and of its response, the rules look at.

use http::HeaderName;

use super::charge::Charge;
use super::exemption::Exemption;
use super::limiter_config::LimiterConfig;
use super::policy::{Cost, Policy};
use super::tiers::{TierBy, Tiers};
use crate::identity::KeyPart;
use crate::identity::key_by::KeyBy;

/// What has to be known of a request to decide about it, besides the peer's address: all else changes nothing.
///
/// Functions of the application may look at anything: where there is one, everything counts as looked at, except
/// header fields, which are not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LooksAt {
    /// The method.
    pub method: bool,
    /// The target, for its path or its host.
    pub target: bool,
    /// The status of the response.
    pub status: bool,
    /// These header fields, each once.
    pub header_fields: Vec<HeaderName>,
}

impl LimiterConfig {
    /// What the rules look at.
    #[must_use]
    pub fn looks_at(&self) -> LooksAt {
        let any = |is_looked_at: fn(&Policy) -> bool| self.policies.iter().any(is_looked_at);
        LooksAt {
            method: any(Policy::looks_at_method),
            target: any(Policy::looks_at_target),
            status: any(|policy| matches!(policy.charge, Charge::RefundOn(_) | Charge::OnlyOn(_))),
            header_fields: self.header_fields(),
        }
    }
}

impl Policy {
    fn looks_at_method(&self) -> bool {
        let by_key = matches!(&self.key, KeyBy::Spec(spec) if spec.looks_at_method());
        !self.route.is_any() || by_key || self.exemptions.iter().any(Exemption::looks_at_method) || self.has_functions()
    }

    fn looks_at_target(&self) -> bool {
        let by_key = matches!(&self.key, KeyBy::Spec(spec) if spec.looks_at_target());
        let by_tier = matches!(&self.tiers, Some(Tiers { by: TierBy::Map(map), .. }) if *map.by() == KeyPart::Host);
        let is_exempted = self.exemptions.iter().any(Exemption::looks_at_path);
        !self.route.is_any() || by_key || by_tier || is_exempted || self.has_functions()
    }

    fn has_functions(&self) -> bool {
        !matches!(self.key, KeyBy::Spec(_))
            || matches!(self.cost, Cost::Function(_))
            || self.tiers.as_ref().is_some_and(|tiers| matches!(tiers.by, TierBy::Function(_)))
            || self.exempt_when.is_some()
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::config::Tiers;
    use crate::request::Route;

    #[test]
    fn only_what_matters_is_looked_at() {
        let policy = || Policy::new("p", "1/s").unwrap();
        let looks_at = |policy| {
            let LooksAt { method, target, status, header_fields } = LimiterConfig::new().policy(policy).looks_at();
            let fields: Vec<&str> = header_fields.iter().map(HeaderName::as_str).collect();
            format!("{}{}{} {}", u8::from(method), u8::from(target), u8::from(status), fields.join(" "))
        };
        let key = |key: &str| policy().key(key.parse().unwrap());
        let exempt = |exemption: &str| policy().exempt(exemption.parse().unwrap());
        for (policy, expected) in [
            (policy(), "000 "),
            (key("ip+all"), "000 "),
            (key("ip+method"), "100 "),
            (key("header:x-a | path"), "010 x-a"),
            (key("cookie:a | host"), "010 cookie host"),
            (policy().on(Route::any().method(Method::POST)), "110 "),
            (policy().on(Route::any().host("a.example")), "110 host"),
            (exempt("10.0.0.0/8"), "000 "),
            (exempt("method:OPTIONS"), "100 "),
            (exempt("path:/health"), "010 "),
            (exempt("header:user-agent:x*"), "000 user-agent"),
            (policy().charge(Charge::RefundOn("5xx".parse().unwrap())), "001 "),
            (policy().tiers(Tiers::by_header("x-plan".parse().unwrap())), "000 x-plan"),
            (policy().tiers(Tiers::by(|_| None)), "110 "),
            (policy().key_by(|_| None::<u64>), "110 "),
            (policy().cost_by(|_| 1), "110 "),
            (policy().exempt_when(|_| false), "110 "),
        ] {
            let shown = format!("{policy:?}");
            assert_eq!(looks_at(policy), expected, "{shown}");
        }
    }
}
