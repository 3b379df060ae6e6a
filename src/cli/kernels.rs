//! `pinhole kernels`: the table of kernels and their shaders.

use super::arguments::{TargetArgument, resolve_model};
use super::output::say;
use pinhole::error::{Error, Result, suggest};
use pinhole::gpu::{Language, Shader, specialise};
use pinhole::model::Network;
use pinhole::plan::{Fusion, Step, TABLE};
use pinhole::train::{default_samples, training_plan};
use std::io::{IsTerminal, Write};

#[derive(clap::Args)]
pub struct Arguments {
    /// The kernel to print, such as conv2d.forward [default: list all kernels]
    name: Option<String>,
    /// The model in whose training step the kernel is looked up
    #[arg(long, default_value = "conv", value_name = "PRESET|FILE.toml")]
    model: String,
    #[command(flatten)]
    target: TargetArgument,
    /// The shading language to print the kernel in
    #[arg(long, default_value = "wgsl", value_name = "wgsl|spirv|msl|hlsl", value_parser = language)]
    emit: Language,
}

fn language(name: &str) -> Result<Language, String> {
    let known = Language::ALL.into_iter().find(|language| language.name() == name);
    known.ok_or_else(|| suggest(name, Language::ALL.map(Language::name)))
}

/// Lists the kernels, or prints the shaders that one becomes in a training step.
pub fn run(arguments: &Arguments) -> Result<()> {
    let target = arguments.target.target()?;
    let network = Network::new(resolve_model(&arguments.model)?)?;
    let plan = training_plan(&network, default_samples(&network), target.clone())?;
    let Some(name) = &arguments.name else {
        say(&format!("{:<28} {:<18} {:>8} {:>8}  fused", "kernel", "file", "bindings", "in model"))?;
        for row in TABLE {
            let fused = match row.fusion {
                Fusion::No => "",
                Fusion::Source => "an expression before it",
                Fusion::Epilogue => "an expression after it",
                Fusion::Own => "a function of the application",
            };
            let uses = plan.steps.iter().filter(|step| step.kernel == row.kernel).count();
            let (name, bindings) = (row.kernel.name(), row.bindings.len());
            say(format!("{name:<28} {:<18} {bindings:>8} {uses:>8}  {fused}", row.file).trim_end())?;
        }
        return Ok(());
    };
    let Some(row) = TABLE.iter().find(|row| row.kernel.name() == *name) else {
        let names: Vec<String> = TABLE.iter().map(|row| row.kernel.name()).collect();
        let help = suggest(name, names.iter().map(String::as_str));
        return Err(Error::invalid(format!("kernel \"{name}\""), "there is no kernel of this name", help));
    };
    let uses = |launch: &&[Step]| launch.iter().any(|step| step.kernel == row.kernel);
    let mut shaders = Vec::new();
    for launch in plan.launches().map(|(_, launch)| launch).filter(uses) {
        let labels: Vec<&str> = launch.iter().map(|step| step.label.as_str()).collect();
        shaders.push((labels.join(", "), specialise(launch)?));
    }
    if shaders.is_empty() {
        let of_file = Shader::of_file(row.kernel).ok_or_else(|| {
            let problem = format!("the training step of model \"{}\" does not launch it", arguments.model);
            Error::invalid(format!("kernel \"{name}\""), problem, "name another --model")
        })?;
        shaders.push(("its file alone".to_owned(), of_file));
    }
    // SPIR-V is binary, and a file holds one module.
    if arguments.emit == Language::Spirv {
        if std::io::stdout().is_terminal() {
            let help = "write it to a file or pipe it to a disassembler: pinhole kernels NAME --emit spirv | spirv-dis";
            return Err(Error::invalid("--emit spirv", "SPIR-V is binary", help));
        }
        shaders.truncate(1);
    }
    for (label, shader) in shaders {
        let text = shader.emit(arguments.emit, target.without)?;
        if arguments.emit == Language::Spirv {
            let written = std::io::stdout().write_all(&text);
            written.map_err(Error::io("write", std::path::Path::new("standard output")))?;
            continue;
        }
        say(&format!("// {name} of {label}, entry point {}", shader.entry))?;
        say(&String::from_utf8_lossy(&text))?;
    }
    Ok(())
}
