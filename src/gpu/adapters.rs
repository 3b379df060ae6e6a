//! The adapters of the machine and their descriptions.

use crate::plan::Hardware;

/// The description of an adapter, as the adapter reports it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct AdapterSummary {
    /// The adapter's name, by which `--device` finds the adapter.
    pub name: String,
    /// Vulkan, Metal or Dx12.
    pub backend: String,
    /// DiscreteGpu, IntegratedGpu, VirtualGpu, Cpu or Other.
    pub kind: String,
    /// The driver's name.
    pub driver: String,
    /// The driver's version.
    pub driver_info: String,
    /// Whether the adapter is a program that emulates a GPU, such as lavapipe.
    pub software: bool,
    /// Largest number of storage buffers in a launch.
    pub storage_buffers: u32,
    /// Largest size of a binding in bytes.
    pub binding_bytes: u64,
    /// Largest size of a buffer in bytes.
    pub buffer_bytes: u64,
    /// Largest workgroup memory in bytes.
    pub workgroup_bytes: u32,
    /// Largest number of invocations of a workgroup.
    pub invocations: u32,
    /// Smallest and largest number of invocations of a subgroup.
    pub subgroup: [u32; 2],
    /// Features that matter to compute: f16, subgroups, timestamps.
    pub features: Vec<String>,
}

/// Every adapter that can run the kernels. The first one is the one that `auto` and `gpu` take.
pub fn adapters() -> Vec<AdapterSummary> {
    found().iter().map(|found| summary(found.get_info(), found.limits(), found.features())).collect()
}

pub(super) fn found() -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle().with_env());
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let compute = wgpu::DownlevelFlags::COMPUTE_SHADERS;
    adapters.retain(|adapter| adapter.get_downlevel_capabilities().flags.contains(compute));
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters
}

pub(super) fn summary(info: wgpu::AdapterInfo, limits: wgpu::Limits, features: wgpu::Features) -> AdapterSummary {
    let known = [
        ("shader-f16", wgpu::Features::SHADER_F16),
        ("subgroup", wgpu::Features::SUBGROUP),
        ("timestamp-query", wgpu::Features::TIMESTAMP_QUERY),
        ("pipeline-cache", wgpu::Features::PIPELINE_CACHE),
    ];
    AdapterSummary {
        backend: format!("{:?}", info.backend),
        kind: format!("{:?}", info.device_type),
        software: info.device_type == wgpu::DeviceType::Cpu,
        name: info.name,
        driver: info.driver,
        driver_info: info.driver_info,
        storage_buffers: limits.max_storage_buffers_per_shader_stage,
        binding_bytes: limits.max_storage_buffer_binding_size,
        buffer_bytes: limits.max_buffer_size,
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        invocations: limits.max_compute_invocations_per_workgroup,
        subgroup: [info.subgroup_min_size, info.subgroup_max_size],
        features: known.iter().filter(|(_, f)| features.contains(*f)).map(|(name, _)| (*name).to_owned()).collect(),
    }
}

/// The size in bytes of a device's largest dedicated memory; `None` where the driver does not report it. Only Vulkan's
/// do.
pub(super) fn memory_bytes(device: &wgpu::Device) -> Option<u64> {
    #[cfg(not(target_vendor = "apple"))]
    {
        // SAFETY: the device is borrowed while its handles are read, and no handle is destroyed or kept.
        let properties = unsafe {
            let device = device.as_hal::<wgpu::hal::api::Vulkan>()?;
            let instance = device.shared_instance().raw_instance();
            instance.get_physical_device_memory_properties(device.raw_physical_device())
        };
        let heaps = properties.memory_heaps.iter().take(properties.memory_heap_count as usize);
        // The first bit of the flags marks a heap in the device's dedicated memory.
        heaps.filter(|heap| heap.flags.as_raw() & 1 != 0).map(|heap| heap.size).max()
    }
    #[cfg(target_vendor = "apple")]
    {
        let _ = device;
        None
    }
}

/// The size of an adapter's subgroups; `None` where sizes vary, since subgroup tiles need a fixed size.
pub(super) fn even_subgroup(info: &wgpu::AdapterInfo) -> Option<u32> {
    let size = info.subgroup_min_size;
    (size == info.subgroup_max_size && (4..=64).contains(&size)).then_some(size)
}

/// The described device that is most like an adapter, by the adapter's kind: no driver reports what the estimate needs.
pub(super) fn hardware(info: &wgpu::AdapterInfo) -> Hardware {
    const APPLE: u32 = 0x106b;
    match info.device_type {
        _ if info.vendor == APPLE => Hardware::APPLE,
        wgpu::DeviceType::IntegratedGpu => Hardware::INTEGRATED,
        wgpu::DeviceType::DiscreteGpu
        | wgpu::DeviceType::VirtualGpu
        | wgpu::DeviceType::Cpu
        | wgpu::DeviceType::Other => Hardware::DISCRETE,
    }
}
