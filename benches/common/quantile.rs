//! Medians and quartiles of a few dozen measurements.
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "few values")]

/// The value below which this share of all values lies, between neighbours where it falls between them.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    assert!(!values.is_empty() && (0.0..=1.0).contains(&share));
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}
