//! What a real GPU's compiler makes of the kernels, without the GPU: Mesa's RADV compiles for any family of AMD's GPUs on
//! a device that only exists for it. `tests/isa/run` names the family.
//!
//! Each kernel of each preset's and workload's training step, planned for a described discrete card, must compile without
//! spilled registers and scratch memory. Where a launch holds over 5 % of a step's operations, at least 8 subgroups must
//! fit a SIMD at a time (of 32 invocations; on Vega, whose subgroups have 64, 2 suffice), since other subgroups
//! work while one waits for memory. Tiles that the plan has not chosen are printed.

use ash::{khr, vk};
use pinhole::bench::{Material, Workload};
use pinhole::gpu::{Language, Shader, specialise};
use pinhole::model::{ModelSpec, Network, preset::PRESETS};
use pinhole::plan::{Hardware, Plan, Step, Target, Tile, Without};
use pinhole::train::training_plan;
use std::collections::HashMap;
use std::ffi::{CStr, CString};

/// One part in so many of a step's operations makes a launch a large one.
const LARGE: u64 = 20;
/// Subgroups of a SIMD that a large launch needs, and those that suffice on Vega.
const SUBGROUPS: u64 = 8;
const SUBGROUPS_OF_VEGA: u64 = 2;

/// The compiler's figures of a kernel.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    registers: u64,
    spilled: u64,
    scratch: u64,
    subgroups: u64,
    /// Multiply-adds among all vector instructions, as a share.
    multiply_adds: f64,
}

/// RADV on its device without hardware.
struct Compiler {
    device: ash::Device,
    properties: khr::pipeline_executable_properties::Device,
    name: String,
    // The library must outlive the device.
    _entry: ash::Entry,
    _instance: ash::Instance,
}

type Failure = Box<dyn std::error::Error>;

fn text(characters: &[std::ffi::c_char]) -> String {
    // SAFETY: Vulkan ends its strings by a zero.
    unsafe { CStr::from_ptr(characters.as_ptr()) }.to_string_lossy().into_owned()
}

impl Compiler {
    fn open() -> Result<Compiler, Failure> {
        // SAFETY: the structures live as long as the calls that read them.
        unsafe {
            let entry = ash::Entry::load()?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let info = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&info, None)?;
            let devices = instance.enumerate_physical_devices()?;
            let physical = *devices.first().ok_or("RADV lists no device; is RADV_FORCE_FAMILY set?")?;
            let name = text(&instance.get_physical_device_properties(physical).device_name);
            let priority = [1.0];
            let queue = [vk::DeviceQueueCreateInfo::default().queue_priorities(&priority)];
            let names = [khr::pipeline_executable_properties::NAME.as_ptr()];
            let mut executable =
                vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
            let mut of_11 = vk::PhysicalDeviceVulkan11Features::default()
                .storage_buffer16_bit_access(true)
                .uniform_and_storage_buffer16_bit_access(true);
            let mut of_12 =
                vk::PhysicalDeviceVulkan12Features::default().shader_float16(true).vulkan_memory_model(true);
            let mut of_13 = vk::PhysicalDeviceVulkan13Features::default()
                .subgroup_size_control(true)
                .compute_full_subgroups(true)
                .shader_zero_initialize_workgroup_memory(true);
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queue)
                .enabled_extension_names(&names)
                .push_next(&mut executable)
                .push_next(&mut of_11)
                .push_next(&mut of_12)
                .push_next(&mut of_13);
            let device = instance.create_device(physical, &info, None)?;
            let properties = khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Compiler { device, properties, name, _entry: entry, _instance: instance })
        }
    }

    /// Compiles a shader for a launch of this many storage buffers.
    fn compile(&self, shader: &Shader, buffers: u32) -> Result<Figures, Failure> {
        let code = shader.emit(Language::Spirv, Without::default())?;
        let words: Vec<u32> =
            code.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
        let entry = CString::new(shader.entry.as_str())?;
        let bindings: Vec<_> = (0..buffers)
            .map(|binding| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding)
                    .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        // SAFETY: the structures live as long as the calls that read them, and what is created is destroyed once.
        unsafe {
            let device = &self.device;
            let module = device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&words), None)?;
            let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [device.create_descriptor_set_layout(&set, None)?];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = device.create_pipeline_layout(&layout, None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(&entry);
            let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let info = vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout).flags(flags);
            let pipelines = device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
            let pipeline = pipelines.map_err(|(_, error)| error)?[0];
            let which = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
            let mut figures = Figures::default();
            for statistic in self.properties.get_pipeline_executable_statistics(&which)? {
                let value = match statistic.format {
                    vk::PipelineExecutableStatisticFormatKHR::UINT64 => statistic.value.u64,
                    _ => continue,
                };
                match text(&statistic.name).as_str() {
                    "VGPRs" => figures.registers = value,
                    "Spilled SGPRs" | "Spilled VGPRs" => figures.spilled += value,
                    "Scratch size" => figures.scratch = value,
                    "Subgroups per SIMD" => figures.subgroups = value,
                    _ => {}
                }
            }
            figures.multiply_adds = self.multiply_adds(&which)?;
            device.destroy_pipeline(pipeline, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(sets[0], None);
            device.destroy_shader_module(module, None);
            Ok(figures)
        }
    }

    /// The share of multiply-adds among the vector instructions of the compiled text.
    fn multiply_adds(&self, which: &vk::PipelineExecutableInfoKHR) -> Result<f64, Failure> {
        let call = self.properties.fp().get_pipeline_executable_internal_representations_khr;
        // SAFETY: the first call counts the texts, the second measures them, the third fills buffers of that length.
        let assembly = unsafe {
            let mut count = 0;
            call(self.device.handle(), which, &mut count, std::ptr::null_mut()).result()?;
            let mut texts = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            call(self.device.handle(), which, &mut count, texts.as_mut_ptr()).result()?;
            let mut buffers: Vec<Vec<u8>> = texts.iter().map(|text| vec![0; text.data_size + 1]).collect();
            for (text, buffer) in texts.iter_mut().zip(&mut buffers) {
                text.p_data = buffer.as_mut_ptr().cast();
            }
            call(self.device.handle(), which, &mut count, texts.as_mut_ptr()).result()?;
            let of = |wanted: &str| texts.iter().position(|known| text(&known.name).contains(wanted));
            let index = of("Assembly").or_else(|| of("ACO IR")).ok_or("RADV gives no text of a kernel")?;
            String::from_utf8_lossy(&buffers[index]).into_owned()
        };
        let (mut all, mut multiply_adds) = (0.0, 0.0);
        for word in assembly.split_whitespace().filter(|word| word.starts_with("v_") || word.starts_with("ds_")) {
            all += 1.0;
            let is =
                ["v_fma", "v_mac", "v_mad_f32", "v_pk_fma", "v_dual_fma"].iter().any(|name| word.starts_with(name));
            multiply_adds += f64::from(u8::from(is));
        }
        Ok(multiply_adds / f64::max(all, 1.0))
    }
}

/// The plans of all presets and workloads for a described discrete card.
fn plans() -> Result<Vec<(String, Plan)>, Failure> {
    let target = Target::described(Hardware::DISCRETE);
    let mut plans = Vec::new();
    for preset in PRESETS {
        plans.push((preset.name.to_owned(), of_preset(preset.name, target.clone())?));
    }
    for workload in Workload::ALL {
        plans.push((workload.to_string(), Material::new(*workload, None)?.plan(&target)?));
    }
    Ok(plans)
}

fn of_preset(preset: &str, target: Target) -> Result<Plan, Failure> {
    Ok(training_plan(&Network::new(ModelSpec::resolve(preset)?)?, 60_000, target)?)
}

fn buffers(launch: &[Step]) -> u32 {
    pinhole::plan::bindings(launch).len() as u32
}

fn main() -> Result<(), Failure> {
    let compiler = Compiler::open()?;
    let vega = compiler.name.to_lowercase().contains("vega");
    let least = if vega { SUBGROUPS_OF_VEGA } else { SUBGROUPS };
    let mut compiled: HashMap<Shader, Figures> = HashMap::new();
    let mut faults = Vec::new();
    for (name, plan) in plans()? {
        let all = plan.operations();
        for (index, launch) in plan.launches() {
            let shader = specialise(launch)?;
            let figures = match compiled.get(&shader) {
                Some(figures) => *figures,
                None => {
                    let figures = compiler.compile(&shader, buffers(launch))?;
                    compiled.insert(shader, figures);
                    figures
                }
            };
            let operations: u64 = launch.iter().map(|step| step.operations).sum();
            let large = operations * LARGE > all;
            let kernels: Vec<String> = launch.iter().map(|step| step.kernel.name()).collect();
            let fault = match figures {
                Figures { spilled: 1.., .. } | Figures { scratch: 1.., .. } => "it spills",
                Figures { subgroups, .. } if large && subgroups < least => "too few subgroups fit",
                _ => continue,
            };
            faults.push(format!("{name}, launch {index} ({}): {fault}: {figures:?}", kernels.join("+")));
        }
    }
    println!("{}: {} kernels of {} plans", compiler.name, compiled.len(), PRESETS.len() + Workload::ALL.len());
    println!("tile                              registers  spilled  subgroups  multiply-adds");
    for tile in Tile::family(&Target::described(Hardware::DISCRETE)) {
        let plan = of_preset("conv", Target { forced: Some(tile), ..Target::described(Hardware::DISCRETE) })?;
        let products = plan.launches().filter(|(_, launch)| launch.len() == 1 && launch[0].product().is_some());
        let mut worst = Figures { subgroups: u64::MAX, ..Figures::default() };
        for (_, launch) in products {
            let figures = compiler.compile(&specialise(launch)?, buffers(launch))?;
            worst.registers = worst.registers.max(figures.registers);
            worst.spilled = worst.spilled.max(figures.spilled + figures.scratch);
            worst.subgroups = worst.subgroups.min(figures.subgroups);
            worst.multiply_adds = worst.multiply_adds.max(figures.multiply_adds);
        }
        let lanes = if tile.depth_lanes > 1 { format!(" by {}", tile.depth_lanes) } else { String::new() };
        let described = format!("{} {}x{}x{}{lanes}", tile.family.name(), tile.lines, tile.columns, tile.depth);
        let Figures { registers, spilled, subgroups, multiply_adds, .. } = worst;
        println!("{described:<33} {registers:>9} {spilled:>8} {subgroups:>10} {multiply_adds:>14.2}");
    }
    match &faults[..] {
        [] => Ok(()),
        faults => Err(format!("{} launches:\n{}", faults.len(), faults.join("\n")).into()),
    }
}
