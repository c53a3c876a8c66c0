//! What `/metrics` says, in the text format of OpenMetrics 1.0. No label has values that a caller can make up.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text as openmetrics};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::engine::{Counts, Lags};
use crate::model::TaskState;
use crate::net::{NetCounters, Refusal};
use crate::service::{AgentService, Measured, Method};

/// All numbers of one moment.
#[derive(Debug)]
struct Snapshot {
    counts: Counts,
    tasks: BTreeMap<TaskState, u64>,
    calls: Vec<(Method, Measured)>,
    lags: Lags,
    net: Vec<Number>,
    closes: BTreeMap<&'static str, u64>,
    refused: [(&'static str, u64); 4],
}

/// A number without labels.
#[derive(Debug)]
struct Number {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    value: u64,
}

/// The document.
pub(super) async fn text(service: &AgentService, net: &NetCounters) -> String {
    let engine = service.engine();
    let tasks = engine.tasks_by_state().await.unwrap_or_else(|fault| {
        tracing::warn!(%fault, "the tasks cannot be counted");
        BTreeMap::new()
    });
    let snapshot = Snapshot {
        counts: engine.counts(),
        tasks,
        calls: Method::ALL.map(|method| (method, service.meters().read(method))).into(),
        lags: engine.lags(),
        net: of_net(net),
        closes: net.closes(),
        refused: [
            ("connections", net.refused(Refusal::Connections)),
            ("connections-per-address", net.refused(Refusal::ConnectionsPerAddress)),
            ("foreign-host", net.foreign_hosts()),
            ("foreign-origin", net.foreign_origins()),
        ],
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut out = String::new();
    openmetrics::encode(&mut out, &registry).expect("a String takes all that is written");
    out
}

fn of_net(net: &NetCounters) -> Vec<Number> {
    let gauge =
        |name, help, value: usize| Number { name, help, kind: MetricType::Gauge, value: value as u64 };
    let counter = |name, help, value| Number { name, help, kind: MetricType::Counter, value };
    vec![
        gauge("a2a_connections", "Connections that are open, of any protocol", net.connections()),
        gauge("a2a_websockets", "WebSocket connections that are open", net.sockets()),
        gauge("a2a_http_requests_running", "HTTP requests that wait for calls", net.requests()),
        gauge("a2a_http_body_bytes", "Bytes of the bodies of running requests", net.body_bytes()),
        counter("a2a_connections_accepted", "Connections accepted", net.accepted()),
        counter(
            "a2a_accept_errors",
            "Times that the system failed to accept a connection",
            net.accept_errors(),
        ),
        counter("a2a_connection_defects", "Defects that ended a connection", net.panics()),
    ]
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.calls(&mut encoder)?;
        self.tasks(&mut encoder)?;
        for number in self.net.iter().chain(&self.engine()) {
            let Number { name, help, kind, value } = number;
            put(encoder.encode_descriptor(name, help, None, *kind)?, *kind, *value)?;
        }
        by_reason(
            &mut encoder,
            ("a2a_websockets_closed", "WebSocket connections that have ended, by reason"),
            self.closes.iter().map(|(reason, count)| (*reason, *count)),
        )?;
        by_reason(
            &mut encoder,
            ("a2a_refused", "Connections and requests that were refused, by reason"),
            self.refused.iter().copied(),
        )
    }
}

impl Snapshot {
    fn calls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut calls = encoder.encode_descriptor(
            "a2a_calls",
            "Calls, by method and outcome",
            None,
            MetricType::Counter,
        )?;
        for (method, measured) in &self.calls {
            for (outcome, count) in &measured.outcomes {
                let labels = [("method", method.name()), ("outcome", outcome)];
                put(calls.encode_family(&labels)?, MetricType::Counter, *count)?;
            }
        }
        let help = "How long calls took, by method";
        let mut took = encoder.encode_descriptor(
            "a2a_call_duration",
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (method, measured) in self.calls.iter().filter(|(_, measured)| !measured.outcomes.is_empty()) {
            let labels = [("method", method.name())];
            histogram(took.encode_family(&labels)?, measured.seconds, &measured.durations)?;
        }
        let help = "How many events subscribers were behind when they read";
        let lag =
            encoder.encode_descriptor("a2a_subscriber_lag_events", help, None, MetricType::Histogram)?;
        histogram(lag, self.lags.sum as f64, &self.lags.buckets)
    }

    fn tasks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut tasks = encoder.encode_descriptor(
            "a2a_tasks",
            "Tasks in the store, by state",
            None,
            MetricType::Gauge,
        )?;
        for state in TaskState::ALL {
            let labels = [("state", state.short_name())];
            let count = self.tasks.get(&state).copied().unwrap_or(0);
            put(tasks.encode_family(&labels)?, MetricType::Gauge, count)?;
        }
        Ok(())
    }

    fn engine(&self) -> Vec<Number> {
        let counts = &self.counts;
        let gauge = |name, help, value| Number { name, help, kind: MetricType::Gauge, value };
        let counter = |name, help, value| Number { name, help, kind: MetricType::Counter, value };
        vec![
            gauge("a2a_tasks_in_use", "Tasks that somebody works on or follows", counts.live_tasks),
            gauge("a2a_turns_running", "Agents' turns that run", counts.turns),
            gauge("a2a_subscriptions", "Streams of events that are open", counts.feeds),
            gauge("a2a_writer_queue", "Pieces of work that wait for the log's writer", counts.queued),
            counter("a2a_events", "Events committed", counts.events),
            counter("a2a_commits", "Groups of events committed together", counts.commits),
            counter("a2a_updates_refused", "Agents' updates that were no legal step", counts.refused_updates),
            counter(
                "a2a_updates_dropped",
                "Agents' updates after the end of their turn",
                counts.dropped_updates,
            ),
            counter("a2a_turns_refused", "Turns refused because too many ran", counts.refused_turns),
        ]
    }
}

fn by_reason<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    counts: impl Iterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (reason, count) in counts {
        put(family.encode_family(&[("reason", reason)])?, MetricType::Counter, count)?;
    }
    Ok(())
}

fn put(mut encoder: MetricEncoder<'_>, kind: MetricType, value: u64) -> fmt::Result {
    match kind {
        MetricType::Counter => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
        _ => encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX)),
    }
}

fn histogram(mut encoder: MetricEncoder<'_>, sum: f64, buckets: &[(f64, u64)]) -> fmt::Result {
    let count = buckets.iter().map(|(_, count)| count).sum();
    encoder.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
}
