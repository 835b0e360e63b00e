//! Which policies can be for a request, by the first segment of its path: sorted when rules are set, so that a policy for paths that
//! begin otherwise costs a request nothing.
//!
//! Only a sieve: what it lets through is still asked whether it is for the request, and it lets through all that are. A path that
//! servers read in several ways is not sieved.

use crate::config::Policy;
use crate::request::path::is_plain;

/// The policies of one configuration, by the first segments of the paths that they are for.
pub(crate) struct Candidates {
    /// Those for paths that may begin in any way, in their order.
    pub(super) common: Vec<usize>,
    /// The others, in their order, where their first segments fall. A power of two of places; none if there are no others.
    places: Vec<Vec<usize>>,
}

impl Candidates {
    pub(super) fn new(policies: &[Policy]) -> Self {
        let mut common = Vec::new();
        let mut sieved: Vec<(usize, Vec<&str>)> = Vec::new();
        for (index, policy) in policies.iter().enumerate() {
            match policy.route.first_segments() {
                Some(segments) => sieved.push((index, segments)),
                None => common.push(index),
            }
        }
        let segments: usize = sieved.iter().map(|(_, segments)| segments.len()).sum();
        // Four places for each, so that most paths of no policy fall beside all of them.
        let places = if segments == 0 { 0 } else { segments.saturating_mul(4).next_power_of_two() };
        let mut places = vec![Vec::new(); places];
        for (index, segments) in sieved {
            for segment in segments {
                let at = place(segment.as_bytes(), places.len());
                if let Some(place) = places.get_mut(at)
                    && place.last() != Some(&index)
                {
                    place.push(index);
                }
            }
        }
        Self { common, places }
    }

    /// Whether every path is for the common ones alone.
    pub(super) const fn are_common(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether `path`, as it came, is surely for the common ones alone.
    #[inline]
    pub(super) fn has_common_only(&self, path: &str) -> bool {
        self.are_common() || is_plain(path) && self.others(path).is_empty()
    }

    /// All that may be for `path`, which is in its one spelling, in their order.
    pub(super) fn in_order(&self, path: &str) -> impl Iterator<Item = usize> {
        let (mut common, mut others) = (self.common.iter().peekable(), self.others(path).iter().peekable());
        std::iter::from_fn(move || match (common.peek(), others.peek()) {
            (Some(one), Some(other)) if other < one => others.next().copied(),
            (None, _) => others.next().copied(),
            _ => common.next().copied(),
        })
    }

    /// Beside the common ones, those that may be for `path`, which is in its one spelling.
    #[inline]
    pub(super) fn others(&self, path: &str) -> &[usize] {
        let rest = path.as_bytes().get(1..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let segment = rest.get(..end).unwrap_or_default();
        self.places.get(place(segment, self.places.len())).map_or(&[], Vec::as_slice)
    }
}

/// Where a segment falls among so many places, a power of two: whatever the case of its letters, as that may not matter.
#[inline]
fn place(segment: &[u8], places: usize) -> usize {
    let letter = |byte: Option<&u8>| usize::from(byte.map_or(0, |byte| byte.to_ascii_lowercase()));
    let mixed = segment.len() ^ letter(segment.first()) << 8 ^ letter(segment.last()) << 16;
    (mixed.wrapping_mul(0x9E37_79B1) >> 16) & places.wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{RequestInfo, Route};

    fn policy(paths: &[&str]) -> Policy {
        let route = paths.iter().fold(Route::any(), |route, path| route.path(path).unwrap());
        Policy::new("p", "1/minute").unwrap().on(route)
    }

    /// Of every policy that is for a path, the sieve says that it may be.
    #[test]
    fn nothing_that_is_for_a_path_is_left_out() {
        let routes: [&[&str]; 10] = [
            &[],
            &["/"],
            &["/*"],
            &["/login"],
            &["/Login/*"],
            &["/{any}/b"],
            &["/a/b", "/a/c", "/z"],
            &["/a/{id}"],
            &["/x", "/{y}"],
            &["/%61/b"],
        ];
        let policies: Vec<Policy> = routes.into_iter().map(policy).collect();
        let candidates = Candidates::new(&policies);
        assert_eq!(candidates.common, [0, 2, 5, 8]);
        let paths = ["/", "/login", "/LOGIN", "/login/x", "/a", "/a/b", "/A/B", "/z", "/x", "/q", "/lx", "/y/b"];
        let mut passed = 0;
        for path in paths {
            let others = candidates.others(path);
            assert!(others.is_sorted(), "{path}: in their order");
            passed += others.len();
            let request = http::Request::builder().uri(path).body(()).unwrap();
            for ignores_case in [false, true] {
                let mut info = RequestInfo::new(&request);
                info.set_ignores_path_case(ignores_case);
                for (index, policy) in policies.iter().enumerate() {
                    let is_candidate = candidates.common.contains(&index) || others.contains(&index);
                    assert!(is_candidate || !policy.route.covers(&info), "{path}: policy {index}");
                }
            }
        }
        assert!(passed < paths.len() * 3, "a sieve that lets {passed} through keeps nothing back");
        let strangers = ["/orders", "/metrics", "/health/live", "/v1/users", "/static/app.js", "/search"];
        let kept_back = strangers.into_iter().filter(|path| candidates.has_common_only(path)).count();
        assert!(kept_back >= 4 && !candidates.has_common_only("/login"), "{kept_back} kept back");
        assert!(!candidates.has_common_only("/q/../login"), "read in several ways");
    }

    #[test]
    fn without_paths_there_is_nothing_to_sieve() {
        let candidates = Candidates::new(&[policy(&[]), policy(&["/*"])]);
        assert!(candidates.are_common() && candidates.has_common_only("//anything/.."));
        assert!(candidates.others("/").is_empty());
    }
}
