//! An application with a wgpu device on which Pinhole trains and runs an autoencoder between the application's kernels.
//!
//! `cargo run --release --example embed_in_wgpu_app`

use pinhole::wgpu;
use pinhole::wgpu::util::DeviceExt;
use pinhole::{Autoencoder, Device, data, model::ModelSpec};

/// A kernel of the application, which darkens a picture from left to right.
const SHADE: &str = "
@group(0) @binding(0) var<storage, read_write> picture: array<f32>;

@compute @workgroup_size(28)
fn shade(@builtin(global_invocation_id) pixel: vec3<u32>) {
    picture[pixel.y * 28u + pixel.x] *= 1.0 - f32(pixel.x) / 28.0;
}
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The application's device. Pinhole uses no limits and features beyond those requested here.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let descriptor = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;

    // Pinhole trains on that device.
    let mut spec = ModelSpec::resolve("conv")?;
    spec.train.epochs = 1;
    let digits = data::digits(1280, 1);
    let mut autoencoder = Autoencoder::new(spec, Device::from_wgpu(device.clone(), queue.clone())?)?;
    let reports = autoencoder.fit(&digits, None, &mut ())?;
    println!("trained on {}: loss {:.4}", reports[0].device, reports[0].train_loss);

    // The application computes on that device too, and passes the result to the autoencoder.
    let shaded = shade(&device, &queue, &digits.rows_f32(0..1))?;
    let copy = autoencoder.reconstruct(&shaded)?.to_f32();
    let distance: f32 = shaded.iter().zip(&copy).map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / 784.0;
    println!("mean squared error of a shaded digit: {distance:.4}");
    Ok(())
}

/// Runs the application's kernel on a picture.
fn shade(device: &wgpu::Device, queue: &wgpu::Queue, picture: &[f32]) -> Result<Vec<f32>, Box<dyn std::error::Error>> {
    let source = wgpu::ShaderSource::Wgsl(SHADE.into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("shade"),
        layout: None,
        module: &module,
        entry_point: Some("shade"),
        compilation_options: Default::default(),
        cache: None,
    });
    let bytes: Vec<u8> = picture.iter().flat_map(|value| value.to_le_bytes()).collect();
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let contents = &bytes;
    let buffer = device.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: None, contents, usage });
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let size = bytes.len() as u64;
    let staging = device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
    let entries = &[wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }];
    let layout = &pipeline.get_bind_group_layout(0);
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries });
    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(1, 28, 1);
    }
    encoder.copy_buffer_to_buffer(&buffer, 0, &staging, 0, size);
    encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, .., |_| ());
    queue.submit([encoder.finish()]);
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let bytes = staging.slice(..).get_mapped_range()?;
    Ok(bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect())
}
