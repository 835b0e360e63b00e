//! What was called and what was answered: to replay a failure, to count, and to compare two runs.

use super::common::mix;
use tollgate::{Decision, Verdict};

use super::common::nanos;

macro_rules! calls {
    ($($call:ident = $name:literal),* $(,)?) => {
        #[derive(Debug, Clone, Copy)]
        pub(crate) enum Call { $($call),* }

        impl Call {
            const NAMES: &[&str] = &[$($name),*];
        }
    };
}

calls! {
    Check = "check",
    CheckN = "check_n",
    Peek = "peek",
    PeekN = "peek_n",
    TakeUpTo = "take_up_to",
    Refund = "refund",
    RefundOf = "refund_of",
    Reset = "reset",
    Charge = "charge",
    Reserve = "reserve",
    Cancel = "cancel",
    Convert = "convert",
    Lease = "lease.check",
    GiveBack = "lease.give_back",
    CheckKeys = "check_keys",
    CheckSet = "check_set",
    CheckItems = "check_items",
    CheckEach = "check_each",
    ReserveSet = "reserve_set",
}

/// Counts, and a digest of every call and every answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) calls: [u64; Call::NAMES.len()],
    pub(crate) scenarios: u64,
    /// Decisions known to the last digit, not within a nanosecond.
    pub(crate) exact: u64,
    /// Steps for which the clock went back.
    pub(crate) back: u64,
    /// Refusals and instants of being full that were tried again at the nanosecond told, and one before.
    pub(crate) probes: u64,
    pub(crate) digest: u64,
}

impl Tally {
    pub(crate) fn steps(&self) -> u64 {
        self.calls.iter().sum()
    }

    /// The sum of both, whatever their order.
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls.iter_mut().zip(other.calls).for_each(|(sum, more)| *sum += more);
        self.scenarios += other.scenarios;
        self.exact += other.exact;
        self.back += other.back;
        self.probes += other.probes;
        self.digest = self.digest.wrapping_add(other.digest);
    }

    pub(crate) fn print(&self, name: &str) {
        let Self { scenarios, exact, back, probes, digest, .. } = self;
        let steps = self.steps();
        println!("{name}: {steps} steps in {scenarios} scenarios, digest {digest:016x}");
        println!("    {exact} decisions held to the last digit, {back} steps back in time, {probes} figures tried");
        let made = Call::NAMES.iter().zip(self.calls).filter(|&(_, count)| count > 0);
        let made: Vec<String> = made.map(|(call, count)| format!("{call} {count}")).collect();
        println!("    {}", made.join(", "));
    }
}

/// The calls of a scenario, kept to be shown if it fails.
#[derive(Debug)]
pub(crate) struct Journal {
    suite: &'static str,
    seed: u64,
    what: String,
    recent: Vec<(Call, u64, u64)>,
    pub(crate) tally: Tally,
}

impl Journal {
    pub(crate) fn new(suite: &'static str) -> Self {
        Self { suite, seed: 0, what: String::new(), recent: Vec::new(), tally: Tally::default() }
    }

    /// A new scenario.
    pub(crate) fn begin(&mut self, seed: u64) {
        self.seed = seed;
        self.recent.clear();
        self.tally.scenarios += 1;
        self.answer(seed);
    }

    /// What the scenario is about.
    pub(crate) fn about(&mut self, what: String) {
        self.what = what;
    }

    /// A call at an instant, with its cost.
    pub(crate) fn call(&mut self, call: Call, at: u64, cost: u64) {
        self.recent.push((call, at, cost));
        self.tally.calls[call as usize] += 1;
        [call as u64, at, cost].into_iter().for_each(|word| self.answer(word));
    }

    pub(crate) fn answer(&mut self, word: u64) {
        self.tally.digest = mix((self.tally.digest ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15));
    }

    pub(crate) fn decision(&mut self, decision: &Decision<'_>) {
        let verdict = match decision.verdict() {
            Verdict::Allowed => 0,
            Verdict::Refused => 1,
            _ => 2,
        };
        let retry = decision.retry_after().map_or(0, nanos);
        let figures = [verdict, decision.burst(), decision.remaining(), retry, nanos(decision.reset_after())];
        figures.into_iter().for_each(|word| self.answer(word));
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { suite, seed, what, .. } = self;
            eprintln!("in {what}");
            for (call, at, cost) in self.recent.iter().rev().take(16).rev() {
                eprintln!("    {at} ns: {} {cost}", Call::NAMES[*call as usize]);
            }
            if *seed == 0 {
                return; // a fuzzer has kept the input
            }
            eprintln!("to see it again: TOLLGATE_SEED={seed} TOLLGATE_STEPS=1 cargo test --test oracle {suite}");
        }
    }
}
