//! Bytes written to the device for each byte of record batches.

use std::time::Duration;

use super::{Figures, Lane, Settings};
use crate::error::Error;
use crate::workload::{Produce, Records, Size, Time, Workload};
use crate::{generator, machine, process};

/// Bytes of record batches that are written.
const BYTES: u64 = 512 << 20;

/// The device is calm when it was written nothing for so long.
const CALM: Duration = Duration::from_millis(500);

/// How long calm is waited for; on a machine with other work it never comes.
const CALM_WAIT: Duration = Duration::from_secs(5);

/// Bytes of the batches.
const BATCHES: [(&str, usize); 2] = [("16k", 16 << 10), ("1m", 1 << 20)];

pub(super) fn measure(settings: &Settings, figures: &mut Figures, say: &dyn Fn(&str)) -> Result<(), Error> {
    for (name, batch_bytes) in BATCHES {
        let (scratch, server) = settings.node(Lane::Durable)?;
        machine::wait_for_calm_device(scratch.path(), CALM, CALM_WAIT)?;
        let device_before = machine::device_written_bytes(scratch.path())?;
        let node_before = process::written_bytes(server.pid())?;
        let workload = Workload {
            records: Records { bytes: Size::Fixed(1024), ..Records::default() },
            produce: Produce { producers: 16, batch_bytes, ..Produce::default() },
            time: Time { warm_up_s: 0.0, seconds: 600.0, bytes_max: BYTES },
            ..Workload::default()
        };
        let payload = generator::run(&workload, &settings.target(&server))?.payload_bytes as f64;
        machine::wait_for_calm_device(scratch.path(), CALM, CALM_WAIT)?;
        let by_node = process::written_bytes(server.pid())? - node_before;
        // A clean stop writes what only memory and the journal hold.
        server.stop()?;
        machine::wait_for_calm_device(scratch.path(), CALM, CALM_WAIT)?;
        let by_all = machine::device_written_bytes(scratch.path())? - device_before;
        let (by_node, by_all) = (by_node as f64 / payload, by_all as f64 / payload);
        figures.record(format!("device/{name}/node_bytes_per_byte"), by_node);
        figures.record(format!("device/{name}/all_bytes_per_byte"), by_all);
        say(&format!("device bytes per byte, {name}: {by_node:.2} by the node, {by_all:.2} on the device"));
    }
    Ok(())
}
