//! What Prometheus reads: metrics in its text format 0.0.4, and targets as its HTTP service discovery wants them.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::net::IpAddr;

use super::metric_table::{METRICS, Metric};
use crate::dialect::json_writer::{write_items, write_json, write_raw};
use crate::dialect::page_progress::PageProgress;
use crate::model::{Items, Metrics, Page, Series, Vm, VmPresence};

/// Writes the metrics, or some of the points that follow them.
pub(super) fn write_page(page: &Page, progress: &mut PageProgress, output: &mut Vec<u8>) {
    progress.begin();
    match &page.items {
        Items::Metrics(metrics) => write_metrics(metrics, output),
        Items::Points(series) => write_points(series, progress, output),
        other => debug_assert!(false, "{other:?} are no metrics"),
    }
}

fn write_metrics(metrics: &Metrics, output: &mut Vec<u8>) {
    let Metrics { vms, vms_online, process, statistics } = metrics;
    let cpu = u64::try_from(process.cpu.as_micros()).unwrap_or(u64::MAX);
    let own = [
        (concat!("build_", env!("CARGO_PKG_VERSION")), 1),
        ("vms_online", *vms_online),
        ("vms_offline", vms.saturating_sub(*vms_online)),
        ("process_cpu_us", cpu),
        ("process_resident_bytes", process.resident_bytes),
        ("process_virtual_bytes", process.virtual_bytes),
        ("process_descriptors", process.descriptors),
        ("process_descriptors_max", process.descriptors_max),
    ];
    let counters = statistics.counters.iter().map(|(name, value)| (Cow::as_ref(name), *value));
    let mut samples: Vec<(usize, &str, u64)> = own.into_iter().chain(counters).filter_map(sample).collect();
    // All samples of a metric stand together.
    samples.sort_by_key(|(row, ..)| *row);
    for same in samples.chunk_by(|(one, ..), (other, ..)| one == other) {
        let Metric { name, label, kind, divisor, help, .. } = &METRICS[same[0].0];
        if name.is_empty() {
            continue;
        }
        write(output, format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()));
        for (_, value_of_label, value) in same {
            write(output, format_args!("{name}"));
            if !label.is_empty() {
                write(output, format_args!("{{{label}=\"{}\"}}", LabelValue(value_of_label)));
            }
            match divisor {
                1 => write(output, format_args!(" {value}\n")),
                divisor => write(output, format_args!(" {}\n", *value as f64 / f64::from(*divisor))),
            }
        }
    }
}

/// The index of the row that a counter belongs to, and the value of its label.
fn sample((counter, value): (&str, u64)) -> Option<(usize, &str, u64)> {
    let mut rows = METRICS.iter().enumerate();
    rows.find_map(|(index, metric)| Some((index, metric.label_of(counter)?, value)))
}

fn write_points(series: &[Series], progress: &mut PageProgress, output: &mut Vec<u8>) {
    for Series { key, points, .. } in series {
        if !std::mem::replace(&mut progress.has_items, true) {
            write_raw(
                output,
                "# HELP vmherd_point The latest point of each key.\n# TYPE vmherd_point gauge\n",
            );
        }
        for point in points {
            let milliseconds = point.timestamp.saturating_mul(1000);
            let key = LabelValue(key.as_str());
            write(output, format_args!("vmherd_point{{key=\"{key}\"}} {} {milliseconds}\n", point.value));
        }
    }
}

/// Writes the VMs that have been connected: a group of one target for each.
pub(super) fn write_targets(port: u16, page: &Page, progress: &mut PageProgress, output: &mut Vec<u8>) {
    if progress.begin() {
        write_raw(output, "[");
    }
    match &page.items {
        Items::ObservedVms(vms) => {
            let targets =
                vms.iter().filter_map(|(vm, presence)| Some((vm, presence, presence.last_address?.0)));
            let targets: Vec<_> = targets.collect();
            write_items(&targets, &mut progress.has_items, output, |(vm, presence, ip), output| {
                write_target(vm, presence, *ip, port, output);
            });
        }
        other => debug_assert!(false, "{other:?} are no VMs"),
    }
    if page.next.is_none() {
        write_raw(output, "]");
    }
}

fn write_target(vm: &Vm, presence: &VmPresence, ip: IpAddr, port: u16, output: &mut Vec<u8>) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => write(output, format_args!("{{\"targets\":[\"{ip}:{port}\"]")),
        IpAddr::V6(ip) => write(output, format_args!("{{\"targets\":[\"[{ip}]:{port}\"]")),
    }
    write_raw(output, ",\"labels\":{\"vm_id\":");
    write_json(output, vm.name.as_str());
    write(output, format_args!(",\"state\":\"{}\"}}}}", presence.state().name()));
}

fn write(output: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    output.write_fmt(text).expect("a Vec takes whatever is written");
}

/// A text as the value of a label.
struct LabelValue<'a>(&'a str);

impl fmt::Display for LabelValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.split_inclusive(['\\', '"', '\n']).try_for_each(|part| match part.as_bytes() {
            [.., b'\\'] => write!(f, "{}\\\\", &part[..part.len() - 1]),
            [.., b'"'] => write!(f, "{}\\\"", &part[..part.len() - 1]),
            [.., b'\n'] => write!(f, "{}\\n", &part[..part.len() - 1]),
            _ => f.write_str(part),
        })
    }
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
