//! SideData an application's own use of the same wgpu device.

use crate::support::*;
use pinhole::plan::Limits;
use pinhole::train::{Options, Trainer};
use pinhole::{Device, Error};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

/// What an application has: a device with few limits and no features, and a handler of its own for errors.
pub fn application(limits: wgpu::Limits) -> (wgpu::Device, wgpu::Queue, Arc<AtomicUsize>) {
    let name = Device::open(&gpu_name()).expect("the tests' device").name();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let fits = |adapter: &wgpu::Adapter| name.starts_with(&adapter.get_info().name);
    let adapter = adapters.into_iter().find(fits).expect("the tests' adapter");
    let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).expect("a device");
    let faults = Arc::new(AtomicUsize::new(0));
    let counted = faults.clone();
    device.on_uncaptured_error(Arc::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    }));
    (device, queue, faults)
}

/// Parameters after an epoch.
fn trained(device: &Device) -> Vec<f64> {
    let (network, data) = (network(SMALL_CONV), pinhole::data::digits(96, 1));
    let mut trainer = Trainer::new(&network, device, &data, None, Options::default()).expect("a trainer");
    trainer.start(&initial(&network)).expect("it starts");
    trainer.epoch(&mut ()).expect("an epoch");
    wide(&trainer.parameters().expect("parameters"))
}

#[test]
fn a_device_with_the_limits_of_small_ones_trains_what_another_does() {
    let (device, queue, faults) = application(wgpu::Limits::downlevel_defaults());
    let device = Device::from_wgpu(device, queue).expect("a device");
    let Device::Gpu(gpu) = &device else { panic!("{}", device.name()) };
    assert_eq!(*gpu.limits(), Limits { memory_bytes: gpu.limits().memory_bytes, ..Limits::DOWNLEVEL });
    expect_close("parameters", &trained(&device), &trained(&Device::Cpu), 1e-4, Scale::Largest);
    assert_eq!(faults.load(Ordering::SeqCst), 0);
}

#[test]
fn an_application_s_device_trains_what_another_does() {
    let (device, queue, faults) = application(wgpu::Limits::default());
    let shared = Device::from_wgpu(device.clone(), queue.clone()).expect("a device");
    let [shared, cpu] = [shared, Device::Cpu].map(|device| trained(&device));
    expect_close("parameters", &shared, &cpu, 1e-4, Scale::Largest);
    assert_eq!(faults.load(Ordering::SeqCst), 0);
    // The application's mistakes are still the application's, and its device still works.
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    queue.write_buffer(&buffer, 0, &[0; 16]);
    queue.submit([]);
    assert_eq!(faults.load(Ordering::SeqCst), 1, "the application's handler hears of its own mistake");
}

#[test]
fn a_device_without_numbers_of_16_bits_says_so() {
    let (device, queue, faults) = application(wgpu::Limits::default());
    let device = Device::from_wgpu(device, queue).expect("a device");
    let (network, data) = (network(&format!("{SMALL_CONV}precision = \"f16\"\n")), pinhole::data::digits(96, 1));
    let Err(error) = Trainer::new(&network, &device, &data, None, Options::default()) else {
        panic!("it has no feature SHADER_F16");
    };
    let name = Device::open(&gpu_name()).expect("the tests' device").name();
    let text = error.to_string();
    let begins = "precision: f16 needs 16-bit numbers in shaders (SHADER_F16), which ";
    let rest = text.strip_prefix(begins).unwrap_or_else(|| panic!("{text}"));
    let adapter = rest.strip_suffix(" lacks; use precision f32, or another device").unwrap_or_else(|| panic!("{text}"));
    assert!(name.starts_with(adapter), "{text}");
    assert_eq!(faults.load(Ordering::SeqCst), 0);
    // In 32 bits it trains.
    let network = crate::support::network(SMALL_CONV);
    assert!(Trainer::new(&network, &device, &data, None, Options::default()).is_ok());
}

#[test]
fn several_threads_share_a_device() {
    for device in fast_devices() {
        let data = pinhole::data::digits(96, 1);
        let network = network(SMALL_CONV);
        let train = |device: &Device| {
            let mut trainer = Trainer::new(&network, device, &data, None, Options::default()).expect("a trainer");
            trainer.start(&initial(&network)).expect("it starts");
            trainer.epoch(&mut ()).expect("an epoch");
            trainer.parameters().expect("parameters")
        };
        let alone = train(&device);
        let (sender, results) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (sender, device, train) = (sender.clone(), device.clone(), &train);
                scope.spawn(move || sender.send(train(&device)).expect("someone listens"));
            }
        });
        drop(sender);
        let together: Vec<_> = results.iter().collect();
        assert_eq!(together.len(), 3);
        assert!(together.iter().all(|parameters| *parameters == alone), "{}", device.name());
    }
}

#[test]
fn too_little_memory_is_foreseen() {
    let network = network(SMALL_CONV);
    let plan = pinhole::train::training_plan(&network, 1000, Default::default()).expect("a plan");
    let asked = plan.bytes();
    let plans = [plan];
    assert!(pinhole::plan::foresee(&plans, asked).is_ok());
    let lasting: u64 = plans[0].buffers.iter().filter(|buffer| buffer.persistent).map(|buffer| buffer.bytes()).sum();
    assert!(lasting > 0 && lasting < asked);
    let halfway = lasting + (asked - lasting) / 2;
    for (available, help) in
        [(halfway, "% of this one would fit"), (lasting - 1, "; use a smaller model, or another device")]
    {
        let error = pinhole::plan::foresee(&plans, available).expect_err("it does not fit");
        let text = error.to_string();
        assert!(matches!(error, Error::OutOfMemory { asked: bytes, .. } if bytes == asked), "{text}");
        assert!(text.contains("\"train.data\"") && text.contains(&format!("{available} bytes available")), "{text}");
        let help = help.trim_start_matches("; ");
        assert!(text.contains(help), "{text}");
    }
    // Drivers of Vulkan tell what they have.
    if let Ok(Device::Gpu(gpu)) = Device::open(&gpu_name()) {
        let is_vulkan = gpu.summary().backend == "Vulkan";
        assert_eq!(gpu.limits().memory_bytes.is_some_and(|bytes| bytes > 64 << 20), is_vulkan);
    }
}
