//! The ceilings of a device, and the cost of a launch.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::{Buffers, Probe, launch_cost};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Seconds of each trial, and the number of trials.
const TRY_SECONDS: f64 = 0.2;
const TRIES: usize = 3;
/// Launches in a measured pass.
const LAUNCHES: usize = 1000;

/// The highest rates that a device reaches.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Ceilings {
    /// Multiply-adds in registers, in 1e9 operations per second; a multiply-add is two operations.
    pub gflops: f64,
    /// Copying between buffers beyond any cache, in 1e9 bytes read and written per second.
    pub gb_per_s: f64,
}

/// The cost of a launch in a pass of many small ones: a line of JSON.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LaunchMeasurement {
    /// `pinhole-` and the version.
    pub peer: String,
    /// The device.
    pub device: String,
    /// Always `launches`.
    pub workload: String,
    /// The buffers of the launches: see `benches/README.md`.
    pub buffers: Buffers,
    /// Launches in the pass.
    pub launches: usize,
    /// Microseconds in which the host records a launch.
    pub host_us_per_launch: f64,
    /// Microseconds from the submission to the end of the pass, divided by the launches.
    pub device_us_per_launch: f64,
}

impl Ceilings {
    /// Measures a device, in about two seconds.
    pub fn measure(device: &Device) -> Result<Ceilings> {
        let (arithmetic, copy) = match device {
            Device::Gpu(gpu) => {
                let arithmetic = Probe::arithmetic(gpu)?;
                let arithmetic = fastest(arithmetic.work(), |launches| arithmetic.run(launches))?;
                let copy = Probe::copy(gpu)?;
                (arithmetic, fastest(copy.work(), |launches| copy.run(launches))?)
            }
            // The ceilings of `cpu` also serve for `cpu-f64`.
            Device::Cpu | Device::CpuF64 => (arithmetic()?, copy()?),
        };
        Ok(Ceilings { gflops: arithmetic / 1e9, gb_per_s: copy / 1e9 })
    }
}

/// Measures the cost of a GPU launch for each kind of buffers. Fails on the CPU, which has no launches.
pub fn launches(device: &Device) -> Result<Vec<LaunchMeasurement>> {
    let Device::Gpu(gpu) = device else {
        let problem = "has no launches to measure";
        return Err(Error::invalid(format!("device \"{}\"", device.name()), problem, "use --device gpu"));
    };
    let measured = |buffers| {
        let [host, device_time] = launch_cost(gpu, buffers, LAUNCHES)?;
        Ok(LaunchMeasurement {
            peer: format!("pinhole-{}", env!("CARGO_PKG_VERSION")),
            device: device.name(),
            workload: "launches".to_owned(),
            buffers,
            launches: LAUNCHES,
            host_us_per_launch: rounded(host * 1e6),
            device_us_per_launch: rounded(device_time * 1e6),
        })
    };
    [Buffers::Shared, Buffers::Separate, Buffers::Chained].into_iter().map(measured).collect()
}

/// Six significant digits of a measurement, more than any clock gives.
pub(super) fn rounded(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

/// Work per second in the fastest of several trials. `run` does `work` once for each repetition that its argument asks
/// for.
fn fastest(work: f64, mut run: impl FnMut(u64) -> Result<()>) -> Result<f64> {
    let mut timed = |times| {
        let began = Instant::now();
        run(times).map(|()| began.elapsed().as_secs_f64())
    };
    timed(1)?;
    let mut times = 1;
    loop {
        let took = timed(times)?;
        if took >= TRY_SECONDS / 4.0 {
            times = ((times as f64 * TRY_SECONDS / took) as u64).max(1);
            break;
        }
        times *= 2;
    }
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        best = best.min(timed(times)?);
    }
    Ok(work * times as f64 / best)
}

/// Bytes read and written per second by all threads.
fn copy() -> Result<f64> {
    const BYTES: usize = 128 << 20;
    let source = vec![1u8; BYTES];
    let mut target = vec![0u8; BYTES];
    let part = BYTES / rayon::current_num_threads().max(1);
    fastest(2.0 * BYTES as f64, |times| {
        for _ in 0..times {
            let pieces = target.par_chunks_mut(part).zip(black_box(&source).par_chunks(part));
            pieces.for_each(|(target, source)| target.copy_from_slice(source));
            black_box(&mut target);
        }
        Ok(())
    })
}

/// Floating-point operations per second by all threads.
fn arithmetic() -> Result<f64> {
    const ROUNDS: u64 = 1000;
    let chains = best_chains();
    let work = (2 * CHAINS * CHAIN) as f64 * ROUNDS as f64 * rayon::current_num_threads() as f64;
    fastest(work, |times| {
        rayon::broadcast(|_| black_box(chains(times * ROUNDS, black_box(0.5), black_box(1.0))));
        Ok(())
    })
}

/// Number of independent chains of multiply-adds, which fit in the first-level cache.
const CHAINS: usize = 1024;
/// Multiply-adds of a chain between a load and a store: enough to hide memory, and few enough that the processor
/// overlaps several chains.
const CHAIN: usize = 12;

/// A loop of multiply-adds. Arguments: number of rounds, factor, addend.
type Chains = fn(u64, f32, f32) -> f32;

/// The chains with the widest multiply-adds of the processor.
#[cfg(target_arch = "x86_64")]
fn best_chains() -> Chains {
    #[target_feature(enable = "avx512f")]
    fn sixteen_wide(rounds: u64, factor: f32, addend: f32) -> f32 {
        chains::<true>(rounds, factor, addend)
    }
    #[target_feature(enable = "avx2,fma")]
    fn eight_wide(rounds: u64, factor: f32, addend: f32) -> f32 {
        chains::<true>(rounds, factor, addend)
    }
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the line above checks that the processor has AVX-512.
        return |rounds, factor, addend| unsafe { sixteen_wide(rounds, factor, addend) };
    }
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the line above checks that the processor has AVX2 and FMA.
        return |rounds, factor, addend| unsafe { eight_wide(rounds, factor, addend) };
    }
    chains::<false>
}

/// The chains with the widest multiply-adds of the processor.
#[cfg(not(target_arch = "x86_64"))]
fn best_chains() -> Chains {
    // Every 64-bit ARM has fused multiply-adds; other processors may need a call into a library.
    chains::<{ cfg!(target_arch = "aarch64") }>
}

/// Multiplies and adds in plain loops, which the compiler vectorises. Returns the sum of all numbers, so that the
/// compiler cannot drop any work.
#[inline(always)]
fn chains<const FUSED: bool>(rounds: u64, factor: f32, addend: f32) -> f32 {
    let mut values: [f32; CHAINS] = std::array::from_fn(|index| index as f32);
    for _ in 0..rounds {
        for value in &mut values {
            for _ in 0..CHAIN {
                *value = if FUSED { value.mul_add(factor, addend) } else { *value * factor + addend };
            }
        }
    }
    values.iter().sum()
}
