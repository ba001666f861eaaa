//! What Prometheus reads, as text and JSON.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::metric_table::Kind;
use super::*;
use crate::clock::UnixSeconds;
use crate::ids::{SeriesId, VmId};
use crate::model::{
    Caller, CommandName, Cursor, Listing, MetricKey, MetricValue, PeerIp, Point, Query, Statistics, VmName,
    VmShape,
};

fn page(query: Query, items: Items, next: Option<Cursor>) -> Page {
    Page { listing: Listing { command: CommandName::Web, query, caller: Caller::default() }, items, next }
}

fn written(pages: Vec<Page>) -> String {
    let (mut progress, mut output) = (PageProgress::default(), Vec::new());
    for page in &pages {
        match page.listing.query {
            Query::Targets { port } => write_targets(port, page, &mut progress, &mut output),
            _ => write_page(page, &mut progress, &mut output),
        }
    }
    String::from_utf8(output).expect("text")
}

fn metrics(counters: &[(&'static str, u64)]) -> String {
    let counters = counters.iter().map(|(name, value)| (Cow::Borrowed(*name), *value)).collect();
    let statistics = Statistics { counters, ..Statistics::default() };
    let metrics = Metrics { vms: 5, vms_online: 2, statistics, ..Metrics::default() };
    written(vec![page(Query::Metrics, Items::Metrics(Box::new(metrics)), None)])
}

#[test]
fn the_names_are_those_that_prometheus_wants() {
    let mut names = BTreeSet::new();
    for metric in METRICS.iter().filter(|metric| !metric.name.is_empty()) {
        let Metric { name, label, kind, help, counter, .. } = metric;
        assert!(names.insert(name), "{name} is there twice");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(name.starts_with("vmherd_") || name.starts_with("process_"), "{name}");
        assert!(help.ends_with('.') && !help.contains(['\\', '\n']), "{name}: {help}");
        assert_eq!(label.is_empty(), !counter.contains('*'), "{name}");
    }
}

#[test]
fn samples_of_a_metric_stand_together() {
    let text = metrics(&[
        ("requests_ping", 3),
        ("requests_ping_ok", 2),
        ("requests_ping_failed", 1),
        ("auth_queued", 7),
        ("requests_verb_stat", 4),
        ("turn_us_max", 1500),
        ("requests_failed", 9),
        ("requests_refused", 8),
        ("auth_threads_stuck", 0),
        ("mine\"", 6),
    ]);
    for wanted in [
        "# TYPE vmherd_requests_total counter\nvmherd_requests_total{command=\"ping\"} 3\n\
         vmherd_requests_total{command=\"verb_stat\"} 4\n#",
        "vmherd_requests_done_total{command=\"ping\"} 2\n#",
        "vmherd_requests_failed_total{command=\"ping\"} 1\n#",
        "# HELP vmherd_requests_refused_total Messages refused: malformed, or too many.\n",
        "vmherd_requests_refused_total 8\n",
        "# TYPE vmherd_lane_queued gauge\nvmherd_lane_queued{lane=\"auth\"} 7\n",
        "vmherd_lane_threads_stuck{lane=\"auth\"} 0\n",
        "vmherd_tick_seconds_max 0.0015\n",
        "vmherd_vms{state=\"online\"} 2\nvmherd_vms{state=\"offline\"} 3\n",
        "vmherd_other{counter=\"mine\\\"\"} 6\n",
        concat!("vmherd_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n"),
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    assert!(!text.contains(" 9\n"), "the sum is there: {text}");
    assert!(text.ends_with('\n') && !text.contains("\n\n"), "{text}");
}

#[test]
fn points_follow_the_metrics_with_their_time() {
    let series = |id, key: &str, timestamp| Series {
        id: SeriesId(id),
        key: MetricKey::from_store(key),
        points: vec![Point { timestamp, value: MetricValue::new(0.5).expect("finite") }],
    };
    let of = |series, next| page(Query::Metrics, Items::Points(series), next);
    let more = Some(Cursor::AfterPoint(None));
    let text = written(vec![
        page(Query::Metrics, Items::Metrics(Box::default()), more),
        of(vec![], more),
        of(vec![series(1, "web.cpu", 100)], more),
        of(vec![series(2, "\\\"é", -1), series(3, "late", i64::MAX)], None),
    ]);
    let (_, points) = text.split_once("# HELP vmherd_point ").expect("points");
    let wanted = "The latest point of each key.\n# TYPE vmherd_point gauge\nvmherd_point{key=\"web.cpu\"} 0.5 100000\n\
                  vmherd_point{key=\"\\\\\\\"é\"} 0.5 -1000\nvmherd_point{key=\"late\"} 0.5 9223372036854775807\n";
    assert_eq!(points, wanted);
}

#[test]
fn targets_are_the_vms_with_an_address() {
    let vm = |id: i64, address: Option<IpAddr>, is_online: bool| {
        let vm = Vm {
            id: VmId(id),
            name: VmName::from_store(&format!("vm\"{id}")),
            shape: VmShape { ram_mib: 1, cpus: 1 },
            has_password: true,
            is_managed: false,
            last_seen: None,
            last_address: None,
            disks: Vec::new(),
        };
        let connected_since = is_online.then_some(UnixSeconds(1));
        (vm, VmPresence { connected_since, last_address: address.map(PeerIp), ..VmPresence::default() })
    };
    let of = |vms, next| page(Query::Targets { port: 9100 }, Items::ObservedVms(vms), next);
    let mapped = Ipv4Addr::new(10, 0, 0, 8).to_ipv6_mapped();
    let text = written(vec![
        of(
            vec![vm(1, None, true), vm(2, Some(Ipv4Addr::new(10, 0, 0, 7).into()), true)],
            Some(Cursor::AfterVm(VmId(2))),
        ),
        of(vec![], Some(Cursor::AfterVm(VmId(2)))),
        of(vec![vm(3, Some(Ipv6Addr::LOCALHOST.into()), false), vm(4, Some(mapped.into()), false)], None),
    ]);
    let wanted = serde_json::json!([
        {"targets": ["10.0.0.7:9100"], "labels": {"vm_id": "vm\"2", "state": "online"}},
        {"targets": ["[::1]:9100"], "labels": {"vm_id": "vm\"3", "state": "offline"}},
        {"targets": ["10.0.0.8:9100"], "labels": {"vm_id": "vm\"4", "state": "offline"}},
    ]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), wanted);
    assert_eq!(written(vec![of(vec![], None)]), "[]");
}

#[test]
fn the_dashboard_names_metrics_that_exist() {
    let text = include_str!("../../../docs/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(text).expect("JSON");
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 5));
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named: BTreeSet<&str> =
        words.filter(|word| word.starts_with("vmherd_") || word.starts_with("process_")).collect();
    assert!(named.len() > 10, "{named:?}");
    let is_known =
        |name: &&&str| METRICS.iter().any(|metric| metric.name == **name) || **name == "vmherd_point";
    let unknown: Vec<_> = named.iter().filter(|name| !is_known(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
