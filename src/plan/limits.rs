//! The limits of a device, against which every plan is checked.

use crate::error::{Error, Result};

/// Workgroups along one axis of a grid: WebGPU's floor, and the limit of most adapters.
pub(super) const GROUPS_PER_AXIS: u64 = 65_535;

/// Limits of an adapter. The default is WebGPU's floor, which all but small and old adapters reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Storage buffers that a launch may bind.
    pub storage_buffers: u64,
    /// Bytes of a binding.
    pub binding_bytes: u64,
    /// Bytes of a buffer.
    pub buffer_bytes: u64,
    /// Invocations of a workgroup.
    pub invocations: u64,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u64,
    /// Workgroups along one axis of a grid.
    pub workgroups: u64,
    /// Multiples at which a binding may begin, in bytes.
    pub alignment: u64,
    /// Bytes of memory, where the driver reports them.
    pub memory_bytes: Option<u64>,
}

impl Limits {
    /// The environment variable that lowers the limits of all devices: `downlevel`, or empty for those of the device.
    pub const VARIABLE: &str = "PINHOLE_LIMITS";

    /// The limits that almost every device reaches, old and small ones included: wgpu's limits of this name.
    pub const DOWNLEVEL: Limits = Limits {
        storage_buffers: 4,
        binding_bytes: 128 << 20,
        buffer_bytes: 256 << 20,
        invocations: 256,
        workgroup_bytes: 16_352,
        workgroups: GROUPS_PER_AXIS,
        alignment: 256,
        memory_bytes: None,
    };

    /// The limits that [`Limits::VARIABLE`] names; `None` where it is unset or empty. Fails on an unknown name.
    pub fn from_environment() -> Result<Option<Limits>> {
        match std::env::var_os(Limits::VARIABLE) {
            None => Ok(None),
            Some(name) if name.is_empty() => Ok(None),
            Some(name) if name == "downlevel" => Ok(Some(Limits::DOWNLEVEL)),
            Some(name) => {
                let problem = format!("unknown limits \"{}\"", name.display());
                Err(Error::invalid(Limits::VARIABLE, problem, "use \"downlevel\", or leave it out"))
            }
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { storage_buffers: 8, workgroup_bytes: 16 << 10, ..Limits::DOWNLEVEL }
    }
}
