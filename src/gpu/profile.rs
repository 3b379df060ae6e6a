//! Runs single launches of a plan, or times them by the adapter's clock.

use super::session::{STAGING, Session, mapped};
use crate::error::{Error, Result};

impl Session {
    /// Runs one launch of a plan, numbered as in [`Plan::launches`](crate::plan::Plan::launches), without keeping its
    /// metrics.
    pub fn run_launch(&mut self, plan: usize, launch: usize) -> Result<()> {
        self.gpu.scoped(
            || "launch".to_owned(),
            || {
                let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
                self.plans[plan].launches[launch].record(&mut encoder.begin_compute_pass(&Default::default()));
                self.gpu.queue.submit([encoder.finish()]);
            },
        )?;
        self.gpu.healthy()
    }

    /// Runs one step of a plan, every launch in a separate pass, and returns the start and duration of each launch by
    /// the adapter's clock, in nanoseconds, without keeping metrics. Fails if the adapter has no timestamps.
    pub fn time_launches(&mut self, plan: usize) -> Result<Vec<[u64; 2]>> {
        self.wait()?;
        let device = &self.gpu.device;
        if !device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            let problem = format!("{} has no timestamp queries", self.gpu.summary().name);
            return Err(Error::invalid("--profile", problem, "profile on another --device"));
        }
        let launches = &self.plans[plan].launches;
        let size = 16 * launches.len() as u64;
        let what = || "timestamps".to_owned();
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = self.gpu.buffer("timestamps", size, usage)?;
        let staging = self.gpu.buffer("timestamps", size, STAGING)?;
        let mut encoder = device.create_command_encoder(&Default::default());
        // A query set holds a limited number of queries.
        for (set, launches) in launches.chunks(wgpu::QUERY_SET_MAX_QUERIES as usize / 2).enumerate() {
            let descriptor = wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * launches.len() as u32,
            };
            let queries = self.gpu.scoped(what, || device.create_query_set(&descriptor))?;
            for (launch, first) in launches.iter().zip((0..).step_by(2)) {
                let timestamps = wgpu::ComputePassTimestampWrites {
                    query_set: &queries,
                    beginning_of_pass_write_index: Some(first),
                    end_of_pass_write_index: Some(first + 1),
                };
                let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(timestamps) };
                launch.record(&mut encoder.begin_compute_pass(&descriptor));
            }
            let place = set as u64 * u64::from(wgpu::QUERY_SET_MAX_QUERIES) * 8;
            encoder.resolve_query_set(&queries, 0..descriptor.count, &resolved, place);
        }
        encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, size);
        encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, .., |_| ());
        let submission = self.gpu.scoped(what, || self.gpu.queue.submit([encoder.finish()]))?;
        self.poll(submission)?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&mapped(&self.gpu, &staging, size)?);
        let period = f64::from(self.gpu.queue.get_timestamp_period());
        let nanoseconds = |ticks: u64| (ticks as f64 * period) as u64;
        let zero = ticks.first().copied().unwrap_or(0);
        let span =
            |pair: &[u64]| [nanoseconds(pair[0] - zero.min(pair[0])), nanoseconds(pair[1].saturating_sub(pair[0]))];
        Ok(ticks.chunks_exact(2).map(span).collect())
    }
}
