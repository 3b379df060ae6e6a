//! `pinhole devices`

use super::output::End;
use super::output::{say, say_json};
use pinhole::error::Result;
use pinhole::gpu::adapters;

#[derive(clap::Args)]
pub struct Arguments {
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints the adapters, and which device `auto` takes.
pub fn run(arguments: &Arguments) -> Result<End> {
    let adapters = adapters();
    let auto = adapters.iter().find(|adapter| !adapter.software).map_or("cpu", |adapter| &adapter.name);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if arguments.json {
        say_json(&serde_json::json!({ "adapters": adapters, "cpu_threads": threads, "auto": auto }))?;
        return Ok(End::Done);
    }
    for adapter in &adapters {
        let kind = if adapter.software { "software" } else { &adapter.kind };
        say(&format!("{} ({}, {kind})", adapter.name, adapter.backend))?;
        say(&format!("    driver {} {}", adapter.driver, adapter.driver_info))?;
        say(&format!(
            "    {} storage buffers, {} bytes a binding, {} a buffer, {} of workgroup memory, {} invocations",
            adapter.storage_buffers,
            adapter.binding_bytes,
            adapter.buffer_bytes,
            adapter.workgroup_bytes,
            adapter.invocations
        ))?;
        let [least, most] = adapter.subgroup;
        say(&format!("    subgroups of {least} to {most}; features: {}", adapter.features.join(", ")))?;
    }
    say(&format!("cpu ({threads} threads)"))?;
    say(&format!("auto takes: {auto}"))?;
    Ok(End::Done)
}
