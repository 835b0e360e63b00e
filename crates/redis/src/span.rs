//! Spans of the server's time, exact: microseconds and parts of one. All products are made here, in 128 bits; the scripts only
//! add and compare.

/// The largest number that a script can write: doubles are exact up to it.
pub(crate) const MAX_NUMBER: u64 = 1 << 53;

/// The time that one token takes to come back, in microseconds: a fraction in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    num: u64,
    den: u64,
}

/// So many microseconds, and `parts` of the [`Token`]'s denominator of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) us: u64,
    pub(crate) parts: u64,
}

impl Token {
    /// The largest denominator: the scripts add two numbers below it, and a double is exact to 2^53.
    pub(crate) const MAX_PARTS: u64 = 1 << 51;

    /// `period` nanoseconds for `count` tokens, both above 0; `None` if the denominator is too large.
    pub(crate) fn new(count: u64, period_nanos: u64) -> Option<Self> {
        let den = u128::from(count) * 1_000;
        let divisor = gcd(u128::from(period_nanos), den);
        let den = u64::try_from(den / divisor).ok().filter(|&den| den <= Self::MAX_PARTS)?;
        // A divisor of a u64.
        let num = u64::try_from(u128::from(period_nanos) / divisor).ok()?;
        Some(Self { num, den })
    }

    pub(crate) const fn parts_per_us(&self) -> u64 {
        self.den
    }

    /// How many parts one token is.
    pub(crate) const fn parts_per_token(&self) -> u64 {
        self.num
    }

    /// A span of `tokens` tokens, in parts.
    pub(crate) fn parts(&self, tokens: u64) -> u128 {
        u128::from(tokens) * u128::from(self.num)
    }

    /// How many whole tokens so many parts are.
    pub(crate) fn tokens_in(&self, parts: u128) -> u64 {
        u64::try_from(parts / u128::from(self.num)).unwrap_or(u64::MAX)
    }

    /// So many microseconds, in parts.
    pub(crate) fn parts_of_us(&self, us: u64) -> u128 {
        u128::from(us) * u128::from(self.den)
    }

    /// The span of so many parts, if it is one.
    pub(crate) fn span(&self, parts: u128) -> Option<Span> {
        let den = u128::from(self.den);
        let us = u64::try_from(parts / den).ok()?;
        // Below the denominator.
        Some(Span { us, parts: u64::try_from(parts % den).ok()? })
    }

    /// So many parts as whole microseconds, rounded up.
    pub(crate) fn us_up(&self, parts: u128) -> u64 {
        u64::try_from(parts.div_ceil(u128::from(self.den))).unwrap_or(u64::MAX)
    }

    /// How far a stamp is ahead of `now`, in parts; 0 if it is not.
    pub(crate) fn ahead(&self, stamp: Span, now: u64) -> u128 {
        (self.parts_of_us(stamp.us) + u128::from(stamp.parts)).saturating_sub(self.parts_of_us(now))
    }

    /// A span of this token's parts as one of as many tokens of another, rounded up: `None` beyond 128 bits, which no span
    /// within a limit's bounds reaches.
    pub(crate) fn as_tokens_of(&self, parts: u128, other: &Self) -> Option<u128> {
        Some(parts.checked_mul(u128::from(other.num))?.div_ceil(u128::from(self.num)))
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_exact() {
        let third = Token::new(300, 1_000_000_000).unwrap();
        assert_eq!((third.num, third.den), (10_000, 3));
        assert_eq!(third.span(third.parts(1)), Some(Span { us: 3_333, parts: 1 }));
        assert_eq!(third.span(third.parts(300)), Some(Span { us: 1_000_000, parts: 0 }));
        assert_eq!(Token::new(100, 60_000_000_000).unwrap().den, 1);
        assert_eq!(Token::new(10_000_000, 1_000_000_000).unwrap(), Token { num: 1, den: 10 });
        assert_eq!(Token::new(u64::MAX, 1), None);
    }
}
