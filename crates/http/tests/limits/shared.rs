//! Limits in a table that other limiters have as well: here two of one process, each with a mapping of its own, as two processes
//! have. The gateway's tests have processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use http::Request;
use tollgate::OnFull;
use tollgate::clock::ManualClock;
use tollgate::error::{BuildError, SharedError};
use tollgate_http::limiter::FixedSetting;
use tollgate_http::{ConfigError, Decision, LimiterConfig, PeerAddr, Policy, RateLimiter, SharedAt, TableMismatch};

use crate::app::{get, policy};

/// A folder on a tmpfs, of one test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new("/dev/shm").join(format!("tollgate-http-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn table(&self) -> PathBuf {
        self.0.join("table")
    }

    fn limiter(&self, policies: impl IntoIterator<Item = Policy>) -> RateLimiter {
        RateLimiter::new(self.config(policies)).unwrap()
    }

    fn config(&self, policies: impl IntoIterator<Item = Policy>) -> LimiterConfig {
        policies.into_iter().fold(LimiterConfig::new(), LimiterConfig::policy).shared(self.table())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How many of so many requests in turn go through: at each limiter half of them by the straight path, where there is one.
fn admitted(limiters: &[&RateLimiter], requests: usize) -> usize {
    let request = get("/");
    let turns = limiters.iter().cycle().take(requests).enumerate();
    turns
        .filter(|(turn, limiter)| {
            let straight = (turn / limiters.len()).is_multiple_of(2).then(|| limiter.check_at_once(&request)).flatten();
            straight.map_or_else(|| limiter.check(&request).is_admitted(), |answer| answer.is_ok())
        })
        .count()
}

#[test]
fn together_they_admit_one_limit() {
    let folder = Folder::new();
    let policies = || [policy("default", "20/day"), policy("other", "50/day")];
    let (a, b) = (folder.limiter(policies()), folder.limiter(policies()));
    assert_eq!(a.shared_table().unwrap().id, b.shared_table().unwrap().id);
    assert_eq!(admitted(&[&a, &b], 60), 20);
    assert_eq!(admitted(&[&folder.limiter(policies())], 5), 0, "one that comes later finds what was used");
    let alone = RateLimiter::new(folder.config(policies()).private()).unwrap();
    assert!(alone.shared_table().is_none());
    assert_eq!(admitted(&[&alone], 60), 20);
}

/// What an operator asks one process is true of the table, and so is what he does.
#[test]
fn one_process_shows_and_resets_a_key_for_all() {
    let folder = Folder::new();
    let (a, b) = (folder.limiter([policy("default", "20/day")]), folder.limiter([policy("default", "20/day")]));
    let client = PeerAddr("192.0.2.7:1".parse().unwrap());
    let request = Request::builder().extension(client).body(()).unwrap();
    assert_eq!((0..25).filter(|_| a.check(&request).is_admitted()).count(), 20);
    let left =
        |limiter: &RateLimiter| limiter.standings("192.0.2.7", None).unwrap().found[0].limits[0].report.remaining;
    assert_eq!((left(&a), left(&b)), (0, 0));
    b.reset_key("192.0.2.7", None).unwrap();
    assert_eq!((left(&a), left(&b)), (20, 20));
    assert!(a.check(&request).is_admitted());
}

#[test]
fn one_policy_by_client_address_is_one_limit_too() {
    let folder = Folder::new();
    let limiters = [1, 2, 3].map(|_| folder.limiter([policy("default", "20/day, 17/hour")]));
    assert_eq!(admitted(&limiters.each_ref(), 60), 17);
}

#[test]
fn what_functions_and_headers_make_keys_of_is_the_same_everywhere() {
    let folder = Folder::new();
    let by_function = || {
        let key =
            |request: &tollgate_http::RequestInfo<'_>| request.header(&http::header::AUTHORIZATION).map(str::to_owned);
        policy("function", "9/day").key_by(key)
    };
    let by_header = || policy("header", "7/day").key("header:authorization | ip".parse().unwrap());
    for (make, most) in [(&by_function as &dyn Fn() -> Policy, 9), (&by_header, 7)] {
        let limiters = [folder.limiter([make()]), folder.limiter([make()])];
        for user in ["ada", "grace"] {
            let peer = PeerAddr("192.0.2.7:1".parse().unwrap());
            let request = Request::builder().header("authorization", user).extension(peer).body(()).unwrap();
            let turns = limiters.iter().cycle().take(30);
            assert_eq!(turns.filter(|limiter| limiter.check(&request).is_admitted()).count(), most, "{user}");
        }
    }
}

#[test]
fn requests_in_flight_are_counted_by_each_for_itself() {
    let folder = Folder::new();
    let policies = || [policy("few", "3/day").concurrency(1)];
    let (a, b) = (folder.limiter(policies()), folder.limiter(policies()));
    let request = get("/");
    let (Decision::Admitted(held), Decision::Admitted(there)) = (a.check(&request), b.check(&request)) else {
        panic!("one at each");
    };
    assert!(!a.check(&request).is_admitted() && !b.check(&request).is_admitted(), "the second at each");
    drop((held, there));
    assert_eq!(admitted(&[&a, &b], 9), 1, "the rate is that of both, and is spent twice");
}

#[test]
fn a_changed_quota_is_that_of_every_process_which_has_it() {
    let folder = Folder::new();
    let (ten, twenty) =
        (|| folder.config([policy("default", "10/day")]), || folder.config([policy("default", "20/day")]));
    let old = RateLimiter::new(ten()).unwrap();
    assert_eq!(admitted(&[&old], 30), 10);
    // The old one is reloaded, and the new one begins with the same.
    let new = RateLimiter::new(twenty()).unwrap();
    let reloaded = old.reload(twenty()).unwrap();
    assert_eq!(reloaded.fixed, []);
    assert_eq!(reloaded.restarted.iter().map(ToString::to_string).collect::<Vec<_>>(), ["default: 20 per 1 day"]);
    assert_eq!(admitted(&[&old, &new], 90), 20, "at most the sum of both quotas in all");
    // And back: what was used is used.
    old.reload(ten()).unwrap();
    assert_eq!(admitted(&[&old], 30), 0);
    assert_eq!(old.reload(ten()).unwrap().restarted, []);
}

#[test]
fn a_reload_keeps_the_table_and_says_so_if_it_was_to_be_another() {
    let folder = Folder::new();
    let limiter = folder.limiter([policy("default", "10/day")]);
    let id = limiter.shared_table().unwrap().id;
    assert_eq!(admitted(&[&limiter], 4), 4);
    let elsewhere = folder.config([policy("default", "10/day")]).shared(folder.0.join("other"));
    for config in [elsewhere, folder.config([policy("default", "10/day")]).private()] {
        assert_eq!(limiter.reload(config).unwrap().fixed, [FixedSetting::Shared]);
        assert_eq!(limiter.shared_table().unwrap().id, id);
        assert_eq!(limiter.config().shared_path(), Some(&*folder.table()));
    }
    assert!(!folder.0.join("other").exists());
    assert_eq!(admitted(&[&limiter], 30), 6);
    assert!(!limiter.shared_table().unwrap().is_detached);
    fs::remove_file(folder.table()).unwrap();
    assert!(limiter.shared_table().unwrap().is_detached);
    assert_eq!(admitted(&[&limiter], 30), 0, "it goes on");
}

#[test]
fn what_is_wrong_with_a_table_is_said_with_its_path() {
    let folder = Folder::new();
    let config = || folder.config([policy("default", "10/day")]);
    let refused = |config: LimiterConfig| {
        let error = RateLimiter::new(config).unwrap_err();
        let text = error.to_string();
        let ConfigError::Build(BuildError::Shared { source, .. }) = error else { panic!("{text}") };
        (source, text)
    };
    let bad = config().policy(policy("default", "9/day"));
    assert!(matches!(RateLimiter::new(bad), Err(ConfigError::SameName { .. })));
    assert!(!folder.table().exists(), "what cannot be used makes no table");

    let _limiter = RateLimiter::new(config()).unwrap();
    let (source, text) = refused(config().capacity(9));
    assert!(matches!(source, SharedError::Capacity { found: 65_536, asked: 9 }), "{text}");
    let path = folder.table().display().to_string();
    assert!(text.contains(&path) && text.contains("65536") && text.contains('9'), "{text}");
    let (source, text) = refused(config().on_full(OnFull::RefuseNew));
    assert!(matches!(source, SharedError::OnFull { asked: OnFull::RefuseNew, .. }), "{text}");
    fs::write(folder.0.join("text"), vec![b'x'; 8_192]).unwrap();
    let (source, text) = refused(config().shared(folder.0.join("text")));
    assert!(matches!(source, SharedError::Mode { .. } | SharedError::Foreign), "{text}");
    let (source, text) = refused(config().shared(folder.0.join("no/such/folder")));
    assert!(matches!(source, SharedError::NotFound), "{text}");
    assert!(text.contains("no/such/folder"), "{text}");

    let relative = RateLimiter::new(config().shared("table")).unwrap_err();
    assert!(matches!(&relative, ConfigError::NotShared { path, .. } if path == Path::new("table")), "{relative}");
    let clock = RateLimiter::with_clock(config(), ManualClock::default()).unwrap_err();
    assert!(matches!(&clock, ConfigError::NotShared { path, .. } if *path == folder.table()), "{clock}");
}

/// Permissions, owner, and what is done where the table that is there is another one.
#[test]
fn what_a_table_must_be_like_is_said() {
    use std::os::unix::fs::MetadataExt;

    let folder = Folder::new();
    let (at, config) = (|| SharedAt::new(folder.table()), || LimiterConfig::new().policy(policy("a", "3/day")));
    let first = RateLimiter::new(config().shared_at(at().mode(0o660))).unwrap();
    assert_eq!(fs::metadata(folder.table()).unwrap().mode() & 0o777, 0o660);
    assert_eq!(admitted(&[&first], 2), 2);
    // More than others allow.
    let strict = RateLimiter::new(config().shared(folder.table())).unwrap_err();
    let is_mode = |error: &ConfigError| {
        matches!(error, ConfigError::Build(BuildError::Shared { source: SharedError::Mode { .. }, .. }))
    };
    assert!(is_mode(&strict), "{strict}");
    let bad = RateLimiter::new(config().shared_at(at().mode(0o700))).unwrap_err();
    assert!(matches!(bad, ConfigError::SharedMode { mode: 0o700, .. }) && bad.to_string().contains("0700"), "{bad}");

    // Another capacity: refused, or that of the table holds, or forgotten, once nobody uses it.
    let other = |what| config().capacity(9).shared_at(at().mode(0o660).on_mismatch(what));
    assert!(RateLimiter::new(other(TableMismatch::Refuse)).is_err());
    let adopted = RateLimiter::new(other(TableMismatch::Adopt)).unwrap();
    assert_eq!((adopted.stats().capacity, admitted(&[&adopted], 2)), (first.stats().capacity, 1));
    assert!(RateLimiter::new(other(TableMismatch::Replace)).is_err(), "two use it");
    drop((first, adopted));
    let replaced = RateLimiter::new(other(TableMismatch::Replace)).unwrap();
    assert_eq!((replaced.stats().capacity, admitted(&[&replaced], 4)), (9, 3));
    drop(replaced);

    // Given to its owner by who may give files away, and else no table is made.
    fs::remove_file(folder.table()).unwrap();
    match RateLimiter::new(config().shared_at(at().owner(4_242))) {
        Ok(_) => assert_eq!(fs::metadata(folder.table()).unwrap().uid(), 4_242),
        Err(error) => assert!(!folder.table().exists(), "{error}"),
    }
}
