//! The figures of a device by which launches are estimated and tiles chosen where nothing was measured.

use crate::error::{Error, Result, suggest};
use crate::files;
use std::path::Path;

/// Published figures of a device. One compute unit is a streaming multiprocessor of NVIDIA, a compute unit of AMD, a dual
/// subslice of Intel, a shader core of Apple and Arm.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// Compute units.
    pub units: u32,
    /// Multiply-adds of 32-bit floats that a unit does in a cycle.
    pub lanes: u32,
    /// The clock under load, in GHz.
    pub clock: f64,
    /// Invocations of a subgroup, where all subgroups are of this size.
    pub subgroup: Option<u32>,
    /// Invocations that a unit holds at a time.
    pub invocations: u32,
    /// 32-bit registers of a unit.
    pub registers: u32,
    /// Bytes of workgroup memory of a unit.
    pub workgroup_memory: u32,
    /// Bandwidth of the device's memory, in GB/s.
    pub bandwidth: f64,
    /// Bytes of the last cache that all units share.
    pub cache: u64,
    /// Bandwidth of that cache, in GB/s.
    pub cache_bandwidth: f64,
    /// Time from a load to its value where that cache has it, in nanoseconds.
    pub latency: f64,
    /// Time from the end of a launch to the start of one that depends on it, in microseconds.
    pub launch: f64,
}

impl Hardware {
    /// An integrated GPU: Intel Iris Xe with 96 execution units, 2.0 TFLOP/s.
    pub const INTEGRATED: Hardware = Hardware {
        units: 6,
        lanes: 128,
        clock: 1.3,
        subgroup: None,
        invocations: 1792,
        registers: 114_688,
        workgroup_memory: 128 << 10,
        bandwidth: 68.0,
        cache: 4 << 20,
        cache_bandwidth: 170.0,
        latency: 250.0,
        launch: 5.0,
    };
    /// A telephone's GPU: Arm Mali-G715 with 7 cores, 1.6 TFLOP/s.
    pub const MOBILE: Hardware = Hardware {
        units: 7,
        lanes: 128,
        clock: 0.89,
        subgroup: Some(16),
        invocations: 2048,
        registers: 65_536,
        workgroup_memory: 32 << 10,
        bandwidth: 68.0,
        cache: 8 << 20,
        cache_bandwidth: 200.0,
        latency: 300.0,
        launch: 5.0,
    };
    /// Apple M2 with 10 cores, 3.6 TFLOP/s.
    pub const APPLE: Hardware = Hardware {
        units: 10,
        lanes: 128,
        clock: 1.4,
        subgroup: Some(32),
        invocations: 3072,
        registers: 53_248,
        workgroup_memory: 60 << 10,
        bandwidth: 100.0,
        cache: 8 << 20,
        cache_bandwidth: 400.0,
        latency: 220.0,
        launch: 4.0,
    };
    /// A laptop's own card: NVIDIA RTX 4060 Laptop, 14.6 TFLOP/s.
    pub const LAPTOP: Hardware = Hardware {
        units: 24,
        lanes: 128,
        clock: 2.37,
        subgroup: Some(32),
        invocations: 1536,
        registers: 65_536,
        workgroup_memory: 100 << 10,
        bandwidth: 256.0,
        cache: 32 << 20,
        cache_bandwidth: 1500.0,
        latency: 130.0,
        launch: 4.0,
    };
    /// A discrete card: AMD RX 6800 XT, 20.7 TFLOP/s.
    pub const DISCRETE: Hardware = Hardware {
        units: 72,
        lanes: 64,
        clock: 2.25,
        subgroup: Some(32),
        invocations: 1024,
        registers: 65_536,
        workgroup_memory: 64 << 10,
        bandwidth: 512.0,
        cache: 128 << 20,
        cache_bandwidth: 2000.0,
        latency: 130.0,
        launch: 4.0,
    };
    /// A data centre's card: NVIDIA H100 SXM, 67 TFLOP/s.
    pub const DATA_CENTER: Hardware = Hardware {
        units: 132,
        lanes: 128,
        clock: 1.98,
        subgroup: Some(32),
        invocations: 2048,
        registers: 65_536,
        workgroup_memory: 228 << 10,
        bandwidth: 3350.0,
        cache: 50 << 20,
        cache_bandwidth: 5500.0,
        latency: 150.0,
        launch: 4.0,
    };

    /// The names by which [`Hardware::find`] knows described devices.
    pub const NAMED: [(&str, Hardware); 6] = [
        ("integrated", Hardware::INTEGRATED),
        ("mobile", Hardware::MOBILE),
        ("apple", Hardware::APPLE),
        ("laptop", Hardware::LAPTOP),
        ("discrete", Hardware::DISCRETE),
        ("data-center", Hardware::DATA_CENTER),
    ];

    /// A device of [`Hardware::NAMED`], or one described by a TOML file with a key for each field. Fails where the name is
    /// unknown, the file cannot be read, or a figure is missing, unknown or not above zero.
    pub fn find(name: &str) -> Result<Hardware> {
        if let Some((_, hardware)) = Hardware::NAMED.iter().find(|(known, _)| *known == name) {
            return Ok(*hardware);
        }
        let path = Path::new(name);
        if path.extension().is_none_or(|extension| extension != "toml") {
            let names = Hardware::NAMED.iter().map(|(known, _)| *known);
            let help = format!("{}; or give the name of a .toml file that describes one", suggest(name, names));
            return Err(Error::invalid("--target", format!("there is no described device \"{name}\""), help));
        }
        let help = "give every figure of examples/gpu.toml, each above zero";
        let read = toml::from_str::<Hardware>(&files::read_text(path)?);
        let hardware = read.map_err(|error| Error::file(path, error.message().replace('\n', " "), help))?;
        let memory = hardware.workgroup_memory;
        let counts = [hardware.units, hardware.lanes, hardware.invocations, hardware.registers, memory];
        let rates = [hardware.clock, hardware.bandwidth, hardware.cache_bandwidth, hardware.latency, hardware.launch];
        let positive = |rate: &f64| rate.is_finite() && *rate > 0.0;
        if counts.contains(&0) || !rates.iter().all(positive) || hardware.subgroup == Some(0) {
            return Err(Error::file(path, "a figure is not above zero", help));
        }
        Ok(hardware)
    }
}

impl Default for Hardware {
    /// [`Hardware::DISCRETE`].
    fn default() -> Hardware {
        Hardware::DISCRETE
    }
}
