//! Axes of charts: the position of a value, and the round values of ticks.

/// A y axis whose largest value is more than this many times its smallest is logarithmic.
const LOGARITHMIC_FROM: f64 = 20.0;

/// The scale of an axis. A logarithmic scale needs positive values, and is linear where some are not.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
    /// Logarithmic where values are positive and span more than a factor of [`LOGARITHMIC_FROM`].
    ByRange,
}

/// An axis from `low` to `high`, which are values, decimal logarithms of values, or indices of names.
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) logarithmic: bool,
    /// Whether all values are whole numbers, so that only whole ticks have a meaning.
    pub(super) whole: bool,
    pub(super) names: Vec<String>,
}

impl Axis {
    /// An axis for the values, of which there is at least one. The part `air` of its length is free at either end.
    pub(super) fn new(values: impl Iterator<Item = f64> + Clone, scale: Scale, air: f64) -> Axis {
        let (mut low, mut high) = (values.clone().fold(f64::MAX, f64::min), values.clone().fold(f64::MIN, f64::max));
        let logarithmic = match scale {
            Scale::Linear => false,
            Scale::Logarithmic => low > 0.0,
            Scale::ByRange => low > 0.0 && high / low > LOGARITHMIC_FROM,
        };
        let whole = scale == Scale::Linear && { values }.all(|value| value.fract() == 0.0);
        if logarithmic {
            (low, high) = (low.log10(), high.log10());
        }
        // Nearly equal values get a range around them; halves keep the largest floats from overflowing.
        let smallest = 1e-6 * low.abs().max(high.abs());
        if 0.5 * high - 0.5 * low <= smallest {
            let around = if whole || smallest == 0.0 { smallest.max(0.5) } else { (0.1 * low.abs()).max(smallest) };
            (low, high) = (low - around, high + around);
        } else if air > 0.0 {
            let air = air * high - air * low;
            (low, high) = (low - air, high + air);
        }
        Axis { low: low.max(-1e300), high: high.min(1e300), logarithmic, whole, names: vec![] }
    }

    /// An axis of names, whose values are their indices from 0.
    pub(super) fn of_names(names: Vec<String>) -> Axis {
        Axis { low: -0.5, high: names.len().max(1) as f64 - 0.5, logarithmic: false, whole: true, names }
    }

    /// The position of a value: 0 at the low end, 1 at the high end.
    pub(super) fn position(&self, value: f64) -> f32 {
        let shown = if self.logarithmic { value.log10() } else { value };
        ((shown - self.low) / (self.high - self.low)).clamp(0.0, 1.0) as f32
    }

    /// About `wanted` round values on the axis with their labels; for an axis of names, all names.
    pub(super) fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        if !self.names.is_empty() {
            return self.names.iter().enumerate().map(|(index, name)| (index as f64, name.clone())).collect();
        }
        if self.logarithmic {
            let ticks = self.logarithmic_ticks(wanted);
            if ticks.len() > 1 {
                return ticks;
            }
            // An axis too short for two logarithmic ticks gets the ticks of a linear axis.
            return linear_ticks(10f64.powf(self.low), 10f64.powf(self.high), false, wanted);
        }
        linear_ticks(self.low, self.high, self.whole, wanted)
    }

    fn logarithmic_ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        // Only powers of ten where the axis has many of them, and also their multiples by 2 and 5 where it has few.
        let decades = self.high - self.low;
        let every = (decades / wanted as f64).ceil().max(1.0) as i32;
        let factors: &[f64] = if 3.0 * decades < wanted as f64 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let mut ticks = Vec::new();
        for power in (self.low.floor() as i32)..=(self.high.ceil() as i32) {
            for factor in factors {
                let value = factor * 10f64.powi(power);
                let inside = (self.low..=self.high).contains(&value.log10());
                if inside && power.rem_euclid(every) == 0 {
                    ticks.push((value, logarithmic_label(*factor, power)));
                }
            }
        }
        ticks
    }
}

fn linear_ticks(low: f64, high: f64, whole: bool, wanted: usize) -> Vec<(f64, String)> {
    let rough = (high - low) / wanted as f64;
    let rough = if whole { rough.max(1.0) } else { rough };
    let power = rough.log10().floor();
    let unit = 10f64.powf(power);
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * unit >= rough).unwrap_or(10.0);
    let step = factor * unit;
    // A step of 10 units needs one decimal less than the unit.
    let decimals = if factor == 10.0 { -power - 1.0 } else { -power };
    let first = (low / step).ceil();
    let count = ((high / step).floor() - first).clamp(0.0, 4.0 * wanted as f64) as usize;
    let values = (0..=count).map(|index| (first + index as f64) * step);
    let largest = low.abs().max(high.abs());
    values.map(|value| (value, linear_label(value, largest, decimals))).collect()
}

fn linear_label(value: f64, largest: f64, decimals: f64) -> String {
    if largest >= 1e7 || decimals > 6.0 {
        let digits = (largest.log10().floor() + decimals).clamp(0.0, 6.0) as usize;
        return if value == 0.0 { "0".into() } else { format!("{value:.digits$e}") };
    }
    // The arithmetic may give a zero with a minus sign.
    let value = if value == 0.0 { 0.0 } else { value };
    format!("{value:.*}", decimals.max(0.0) as usize)
}

fn logarithmic_label(factor: f64, power: i32) -> String {
    match power {
        -4..=-1 => format!("{:.*}", power.unsigned_abs() as usize, factor * 10f64.powi(power)),
        0..=5 => format!("{:.0}", factor * 10f64.powi(power)),
        _ => format!("{factor}e{power}"),
    }
}
