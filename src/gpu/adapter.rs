//! A device opened on an adapter, and the faults that the device reports.

use super::adapters::{AdapterSummary, even_subgroup, found, hardware, memory_bytes, summary};
use super::cache::{Pipelines, cache_folder};
use crate::error::{Error, Result, one_line};
use crate::plan::{Limits, Product, Target, Tile, Without};
use std::cell::Cell;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// An open GPU.
pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) checked: bool,
    /// Compiled pipelines kept between runs, if the adapter supports it.
    pub(super) pipelines: Option<Pipelines>,
    summary: AdapterSummary,
    limits: Limits,
    target: Mutex<Target>,
    faults: Arc<Mutex<Faults>>,
}

/// Errors outside any call, reported by wgpu's callbacks.
#[derive(Default)]
struct Faults {
    lost: Option<String>,
    uncaptured: Option<String>,
}

impl Gpu {
    /// Opens the best adapter whose name contains `name`, ignoring case; `None` takes the best of all. Software
    /// adapters come last. With `PINHOLE_CHECKED=1` in the environment, shaders keep wgpu's bounds checks;
    /// [`Limits::VARIABLE`] may hold the device to the limits of smaller devices. Fails where no adapter fits, or where
    /// the adapter cannot be opened.
    pub fn open(name: Option<&str>) -> Result<Gpu> {
        let checked = std::env::var_os("PINHOLE_CHECKED").is_some_and(|value| value != "0");
        Gpu::open_with(name, checked, cache_folder().as_deref())
    }

    /// As [`Gpu::open`]. `checked` says whether shaders keep wgpu's bounds checks, `cache` which folder keeps compiled
    /// pipelines.
    pub fn open_with(name: Option<&str>, checked: bool, cache: Option<&Path>) -> Result<Gpu> {
        let without = Without::from_environment()?;
        let adapters = found();
        let fits = |adapter: &&wgpu::Adapter| {
            name.is_none_or(|name| adapter.get_info().name.to_lowercase().contains(&name.to_lowercase()))
        };
        let Some(adapter) = adapters.iter().find(fits) else {
            let names: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
            let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Error::NoAdapter { asked: name.unwrap_or("gpu").to_owned(), found });
        };
        let cache = cache.filter(|_| !without.pipeline_cache);
        let info = adapter.get_info();
        let limits = match Limits::from_environment()? {
            Some(_) => wgpu::Limits::downlevel_defaults().or_worse_values_from(&adapter.limits()),
            None => adapter.limits(),
        };
        let mut features = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SHADER_F16;
        features.set(wgpu::Features::SUBGROUP, even_subgroup(&info).is_some());
        features.set(wgpu::Features::PIPELINE_CACHE, cache.is_some());
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("pinhole"),
            required_features: features & adapter.features(),
            required_limits: limits,
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        };
        let failed = |problem: String| {
            let help = "close other programs that use it, or use another --device";
            Error::invalid(format!("device \"{}\"", info.name), format!("it cannot be opened: {problem}"), help)
        };
        let opened = guarded(|| pollster::block_on(adapter.request_device(&descriptor)));
        let opened = opened.ok_or_else(|| failed("its driver gave it up".to_owned()))?;
        let (device, queue) = opened.map_err(|error| failed(one_line(&error.to_string())))?;
        let mut gpu = Gpu::of(device, queue, without);
        gpu.checked = checked;
        gpu.summary = summary(info, adapter.limits(), adapter.features());
        gpu.pipelines = cache.and_then(|folder| Pipelines::load(&gpu.device, &adapter.get_info(), folder));
        // The default handler panics.
        let uncaptured = gpu.faults.clone();
        gpu.device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            if let Ok(mut faults) = uncaptured.lock() {
                faults.uncaptured.get_or_insert_with(|| error.to_string());
            }
        }));
        let lost = gpu.faults.clone();
        gpu.device.set_device_lost_callback(move |reason, message| {
            if let Ok(mut faults) = lost.lock() {
                faults.lost.get_or_insert_with(|| match reason {
                    wgpu::DeviceLostReason::Destroyed => "it was destroyed".to_owned(),
                    wgpu::DeviceLostReason::Unknown => one_line(&message),
                });
            }
        });
        tracing::debug!(adapter = gpu.summary.name, driver = gpu.summary.driver_info, "opened");
        Ok(gpu)
    }

    /// The device and queue of an application, which keeps using them. Limits and features are those that the device
    /// was created with; errors outside the calls of this crate go to the application's handlers. Fails if
    /// [`Without::VARIABLE`] has an unknown name.
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Result<Gpu> {
        Ok(Gpu::of(device, queue, Without::from_environment()?))
    }

    fn of(device: wgpu::Device, queue: wgpu::Queue, without: Without) -> Gpu {
        let (limits, features) = (device.limits(), device.features());
        let subgroup = even_subgroup(&device.adapter_info()).filter(|_| features.contains(wgpu::Features::SUBGROUP));
        let summary = summary(device.adapter_info(), limits.clone(), features);
        let limits = Limits {
            storage_buffers: limits.max_storage_buffers_per_shader_stage as u64,
            binding_bytes: limits.max_storage_buffer_binding_size,
            buffer_bytes: limits.max_buffer_size,
            invocations: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x) as u64,
            workgroup_bytes: limits.max_compute_workgroup_storage_size as u64,
            workgroups: limits.max_compute_workgroups_per_dimension as u64,
            alignment: limits.min_storage_buffer_offset_alignment as u64,
            memory_bytes: memory_bytes(&device),
        };
        let hardware = hardware(&device.adapter_info());
        let target = Target { software: summary.software, subgroup, without, limits, hardware, ..Target::default() };
        let (target, faults) = (Mutex::new(target), Arc::default());
        Gpu { device, queue, checked: false, pipelines: None, summary, limits, target, faults }
    }

    /// Description of the adapter.
    pub fn summary(&self) -> &AdapterSummary {
        &self.summary
    }

    /// The target for which plans are made.
    pub fn target(&self) -> Target {
        self.target.lock().map_or_else(|poisoned| poisoned.into_inner().clone(), |target| target.clone())
    }

    /// Sets the tiles of all later plans.
    pub fn set_tuned(&self, tuned: HashMap<Product, Tile>) {
        if let Ok(mut target) = self.target.lock() {
            target.tuned = Arc::new(tuned);
        }
    }

    /// The limits that plans are checked against.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The wgpu device and queue, for an application that uses them as well. Both are handles: clone them.
    pub fn wgpu(&self) -> (&wgpu::Device, &wgpu::Queue) {
        (&self.device, &self.queue)
    }

    /// Fails where the device was lost or reported an error outside any call.
    pub fn healthy(&self) -> Result<()> {
        if let Some(reason) = self.reported_loss() {
            return Err(Error::DeviceLost { reason });
        }
        let uncaptured = self.faults.lock().ok().and_then(|mut faults| faults.uncaptured.take());
        let Some(problem) = uncaptured else { return Ok(()) };
        self.alive()?;
        Err(Error::Shader { place: "launch".to_owned(), problem: one_line(&problem) })
    }

    /// Fails if the device is lost, even before a callback has reported the loss: wgpu silently drops calls on a lost
    /// device, calls its callback only at the next poll, and reports the loss of an application's device to the
    /// application only.
    pub(super) fn alive(&self) -> Result<()> {
        // Every working device can create a buffer that is mapped at creation.
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let probe = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("probe"),
            size: 16,
            usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        });
        if pollster::block_on(memory.pop()).is_some() || probe.slice(..).get_mapped_range_mut().is_ok() {
            return Ok(());
        }
        // The poll calls the callback.
        let _ = self.wait(None);
        let reason = self.reported_loss().unwrap_or_else(|| "it was destroyed, or its driver gave it up".to_owned());
        Err(Error::DeviceLost { reason })
    }

    /// Why the device was lost, if its callback was called.
    fn reported_loss(&self) -> Option<String> {
        self.faults.lock().ok().and_then(|faults| faults.lost.clone())
    }

    /// Waits until a submission has run; `None` waits for all of them.
    pub(super) fn wait(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let poll = wgpu::PollType::Wait { submission_index, timeout: None };
        // wgpu calls its callback before it panics, and holds no lock then.
        let waited = guarded(|| self.device.poll(poll));
        self.healthy()?;
        let reason = match waited {
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) => error.to_string(),
            None => "its driver gave it up".to_owned(),
        };
        Err(Error::DeviceLost { reason })
    }

    /// Creates a buffer. Fails where wgpu reports an error, such as too little memory.
    pub(super) fn buffer(&self, label: &str, size: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        self.scoped(|| format!("buffer \"{label}\""), || self.device.create_buffer(&descriptor))
    }

    /// Runs a call that creates an object, and turns an error that wgpu reports into one that names the object.
    pub(super) fn scoped<T>(&self, place: impl Fn() -> String, create: impl FnOnce() -> T) -> Result<T> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = create();
        let faults = [validation, internal, memory].map(|scope| pollster::block_on(scope.pop()));
        let Some(fault) = faults.into_iter().flatten().next() else { return Ok(made) };
        // Errors of objects on a lost device are caused by the loss.
        self.alive()?;
        Err(match fault {
            wgpu::Error::OutOfMemory { .. } => {
                let help = "use a smaller batch or another device".to_owned();
                Error::OutOfMemory { what: place(), asked: 0, available: "less".to_owned(), help }
            }
            error => Error::Shader { place: place(), problem: one_line(&error.to_string()) },
        })
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in a call whose panic becomes an error, for panic hooks that report panics.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Makes a call in which wgpu panics if the driver loses its device; returns `None` after such a panic.
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    GUARDED.set(true);
    let returned = std::panic::catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(false);
    returned.ok()
}
