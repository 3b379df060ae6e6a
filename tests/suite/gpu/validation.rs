//! A planted fault for `tests/portability`, which demands that the Khronos validation layer sees it before it takes the
//! layer's silence for an answer.

use crate::support::*;
use pinhole::Device;
use wgpu::hal::CommandEncoder;
use wgpu::hal::api::Vulkan;

/// Writes a buffer twice without a barrier, which wgpu never does, and submits neither.
#[test]
#[ignore = "a fault, for the validation layer to see: tests/portability runs it"]
fn a_planted_hazard() {
    let name = Device::open(&gpu_name()).expect("the tests' device").name();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
    let fits = |adapter: &wgpu::Adapter| name.starts_with(&adapter.get_info().name);
    let adapter = adapters.into_iter().find(fits).expect("an adapter of Vulkan");
    let (device, _queue) = pollster::block_on(adapter.request_device(&Default::default())).expect("a device");
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("written twice"),
        size: 256,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    // SAFETY: nothing is destroyed, and what is recorded never runs.
    unsafe {
        let raw = buffer.as_hal::<Vulkan>().expect("a buffer of Vulkan");
        encoder.as_hal_mut::<Vulkan, _, _>(|encoder| {
            let encoder = encoder.expect("an encoder of Vulkan");
            encoder.clear_buffer(&raw, 0..256);
            encoder.clear_buffer(&raw, 0..256);
        });
    }
    drop(encoder.finish());
}
