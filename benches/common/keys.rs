//! Which key comes next. The same generators for all contenders, their cost included for all.
#![expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "ranks of at most ten million keys")]

/// A source of keys, borrowed until the next draw.
pub trait Keys<K> {
    /// The next key of the workload.
    fn draw(&mut self) -> &K;

    /// The key of this number, for filling a limiter before the race.
    fn number(&mut self, number: u64) -> &K;
}

/// Every key as likely as any other, in an order that no cache foresees: a linear congruential generator.
#[derive(Debug, Clone)]
pub struct Uniform {
    state: u64,
    count: u64,
    key: u64,
}

impl Uniform {
    pub const fn new(count: u64) -> Self {
        Self::seeded(count, 0)
    }

    /// A sequence of its own for each thread.
    pub const fn seeded(count: u64, seed: u64) -> Self {
        Self { state: 0x9E37_79B9_7F4A_7C15 ^ seed.wrapping_mul(0xD6E8_FEB8_6659_FD93), count, key: 0 }
    }
}

impl Keys<u64> for Uniform {
    #[inline]
    fn draw(&mut self) -> &u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.key = ((u128::from(self.state) * u128::from(self.count)) >> 64) as u64;
        &self.key
    }

    fn number(&mut self, number: u64) -> &u64 {
        self.key = number;
        &self.key
    }
}

/// Zipf's law with exponent 0.99, as in the YCSB benchmarks: a few keys have most of the requests.
///
/// Drawn beforehand, a million times, by the exact cumulative distribution: drawing costs more than a check does. In
/// the race the draws are read in order, so that the processor fetches them ahead.
#[derive(Debug, Clone)]
pub struct Zipf {
    drawn: Vec<u64>,
    next: usize,
    key: u64,
}

impl Zipf {
    const DRAWS: usize = 1 << 20;

    pub fn new(count: u64) -> Self {
        let mut sum = 0.0;
        let cumulative: Vec<f64> = (1..=count)
            .map(|rank| {
                sum += (rank as f64).powf(-0.99);
                sum
            })
            .collect();
        let mut uniform = Uniform::new(1 << 53);
        let drawn = (0..Self::DRAWS).map(|_| {
            let at = *uniform.draw() as f64 / (1_u64 << 53) as f64 * sum;
            (cumulative.partition_point(|&below| below <= at) as u64).min(count - 1)
        });
        Self { drawn: drawn.collect(), next: 0, key: 0 }
    }
}

impl Keys<u64> for Zipf {
    #[inline]
    fn draw(&mut self) -> &u64 {
        self.next = (self.next + 1) & (Self::DRAWS - 1);
        &self.drawn[self.next]
    }

    fn number(&mut self, number: u64) -> &u64 {
        self.key = number;
        &self.key
    }
}

/// Always the same key.
#[derive(Debug, Clone, Default)]
pub struct One {
    key: u64,
}

impl Keys<u64> for One {
    #[inline]
    fn draw(&mut self) -> &u64 {
        // Otherwise the hash would be worked out once for all.
        std::hint::black_box(&self.key)
    }

    fn number(&mut self, number: u64) -> &u64 {
        assert_eq!(number, 0, "there is one key only");
        &self.key
    }
}

/// Never the same key twice.
#[derive(Debug, Clone, Default)]
pub struct Fresh {
    key: u64,
}

impl Fresh {
    /// From this number on.
    pub const fn from(key: u64) -> Self {
        Self { key }
    }
}

impl Keys<u64> for Fresh {
    #[inline]
    fn draw(&mut self) -> &u64 {
        self.key += 1;
        &self.key
    }

    fn number(&mut self, _: u64) -> &u64 {
        unreachable!("a limiter is not filled with fresh keys")
    }
}

/// The keys of another source, as text of `LENGTH` bytes that ends in the number in sixteen hexadecimal digits.
#[derive(Debug, Clone)]
pub struct Text<D, const LENGTH: usize> {
    numbers: D,
    text: String,
}

impl<D, const LENGTH: usize> Text<D, LENGTH> {
    pub fn new(numbers: D) -> Self {
        const { assert!(LENGTH >= 16) };
        Self { numbers, text: "k".repeat(LENGTH) }
    }

    #[inline]
    fn write(&mut self, number: u64) -> &String {
        let mut bytes = std::mem::take(&mut self.text).into_bytes();
        bytes[LENGTH - 16..LENGTH - 8].copy_from_slice(&hex((number >> 32) as u32));
        bytes[LENGTH - 8..].copy_from_slice(&hex(number as u32));
        self.text = String::from_utf8(bytes).expect("only ASCII is written");
        &self.text
    }
}

impl<D: Keys<u64>, const LENGTH: usize> Keys<String> for Text<D, LENGTH> {
    #[inline]
    fn draw(&mut self) -> &String {
        let number = *self.numbers.draw();
        self.write(number)
    }

    fn number(&mut self, number: u64) -> &String {
        self.write(number)
    }
}

/// Eight hexadecimal digits, all at once: a digit loop would cost more than the check that is measured.
#[inline]
const fn hex(number: u32) -> [u8; 8] {
    let mut digits = number as u64;
    digits = (digits | digits << 16) & 0x0000_FFFF_0000_FFFF;
    digits = (digits | digits << 8) & 0x00FF_00FF_00FF_00FF;
    digits = (digits | digits << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    let letters = (digits + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (digits + 0x3030_3030_3030_3030 + letters * 39).to_be_bytes()
}
const _: () = assert!(matches!(&hex(0x09AF_1234), b"09af1234"));
