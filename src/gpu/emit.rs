//! The final text of a shader, in the language of each of wgpu's backends.

use super::shader::Shader;
use crate::error::{Error, Result, one_line};
use crate::plan::{Kernel, Without};
use naga::ShaderStage;
use naga::back::{hlsl, msl, spv, wgsl};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

/// A language of a backend's shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// WebGPU's language.
    Wgsl,
    /// Vulkan's language: words of 32 bits, least byte first.
    Spirv,
    /// Metal's language.
    Msl,
    /// DX12's language.
    Hlsl,
}

impl Language {
    /// All languages.
    pub const ALL: [Language; 4] = [Language::Wgsl, Language::Spirv, Language::Msl, Language::Hlsl];

    /// The language's name: `wgsl`, `spirv`, `msl` or `hlsl`.
    pub fn name(self) -> &'static str {
        match self {
            Language::Wgsl => "wgsl",
            Language::Spirv => "spirv",
            Language::Msl => "msl",
            Language::Hlsl => "hlsl",
        }
    }
}

impl Shader {
    /// A kernel's file as it is, with its placeholder constants; `None` for products, which need a tile.
    pub fn of_file(kernel: Kernel) -> Option<Shader> {
        let row = kernel.row();
        (!row.tiled).then(|| Shader {
            text: row.source.to_owned(),
            file: row.file,
            entry: row.entry.to_owned(),
            own: false,
        })
    }

    /// Validates the shader's module. Fails with file, line and column if the module is invalid.
    pub(super) fn validate(&self, module: &naga::Module) -> Result<ModuleInfo> {
        let mut validator =
            Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP | Capabilities::SHADER_FLOAT16);
        validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
        validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
        let place = format!("shaders/{}", self.file);
        validator.validate(module).map_err(|error| Error::Shader {
            problem: one_line(&error.emit_to_string_with_path(&self.text, &place)),
            place,
        })
    }

    /// The text that a driver gets: the module after unrolling, without wgpu's checks, in the given language. Fails
    /// with file, line and column if the shader is invalid.
    pub fn emit(&self, language: Language, without: Without) -> Result<Vec<u8>> {
        let module = self.module(without)?;
        let info = self.validate(&module)?;
        let failed =
            |problem: String| Error::Shader { place: format!("shaders/{} in {}", self.file, language.name()), problem };
        let point = Some((ShaderStage::Compute, self.entry.clone()));
        Ok(match language {
            Language::Wgsl => wgsl::write_string(&module, &info, wgsl::WriterFlags::empty())
                .map_err(|error| failed(error.to_string()))?
                .into_bytes(),
            Language::Spirv => {
                let options =
                    spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: self.entry.clone() };
                let words = spv::write_vec(&module, &info, &Default::default(), Some(&options));
                words.map_err(|error| failed(error.to_string()))?.into_iter().flat_map(u32::to_le_bytes).collect()
            }
            Language::Msl => {
                let pipeline = msl::PipelineOptions { entry_point: point, ..Default::default() };
                let written = msl::write_string(&module, &info, &Default::default(), &pipeline);
                written.map_err(|error| failed(error.to_string()))?.0.into_bytes()
            }
            Language::Hlsl => {
                // DX12 passes the number of workgroups in a binding.
                let counts = hlsl::BindTarget { space: 1, ..Default::default() };
                let options = hlsl::Options { special_constants_binding: Some(counts), ..Default::default() };
                let pipeline = hlsl::PipelineOptions { entry_point: point };
                let mut text = String::new();
                let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None);
                written.map_err(|error| failed(error.to_string()))?;
                text.into_bytes()
            }
        })
    }
}
