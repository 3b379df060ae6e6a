//! `pinhole devices`: the adapters of this machine.

use super::output::{say, say_json};
use pinhole::error::Result;
use pinhole::gpu::{AdapterSummary, adapters};

#[derive(clap::Args)]
pub struct Arguments {
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints the adapters, and which device `auto` takes.
pub fn run(arguments: &Arguments) -> Result<()> {
    let adapters = adapters();
    let auto = adapters.iter().find(|adapter| !adapter.software).map_or("cpu", |adapter| &adapter.name);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if arguments.json {
        return say_json(&serde_json::json!({ "adapters": adapters, "cpu_threads": threads, "auto": auto }));
    }
    for adapter in &adapters {
        let kind = if adapter.software { "software" } else { &adapter.kind };
        say(&format!("{} ({}, {kind})", adapter.name, adapter.backend))?;
        say(&format!("    driver {} {}", adapter.driver, adapter.driver_info))?;
        let AdapterSummary { storage_buffers, binding_bytes, buffer_bytes, workgroup_bytes, invocations, .. } = adapter;
        say(&format!(
            "    {storage_buffers} storage buffers, {binding_bytes} bytes a binding, {buffer_bytes} a buffer, \
             {workgroup_bytes} of workgroup memory, {invocations} invocations"
        ))?;
        let [least, most] = adapter.subgroup;
        say(&format!("    subgroups of {least} to {most}; features: {}", adapter.features.join(", ")))?;
    }
    say(&format!("cpu ({threads} threads)"))?;
    say(&format!("auto takes: {auto}"))
}
