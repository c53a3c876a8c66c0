//! Spans by OpenTelemetry.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use futures::future::Either;
use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::trace::{
    FutureExt as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, TraceState,
    Tracer as _, WithContext,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId};
use serde_json::Value;

use super::{End, TRACEPARENT, TRACESTATE, parent};
use crate::model::ServiceParameters;

/// Makes spans, if the program has set a provider. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Arc<OnceLock<Option<BoxedTracer>>>);

impl Tracer {
    /// Begins the span of a call of an operation. Its parent is the one that the parameters name; at a client, where they
    /// name none, the span that the caller is in.
    pub fn call(&self, end: End, method: &'static str, parameters: &ServiceParameters) -> Span {
        let kind = match end {
            End::Client => SpanKind::Client,
            End::Server => SpanKind::Server,
        };
        self.begin(method.into(), &kind, parameters)
    }

    /// Begins the span of an agent's turn, as a child of the send's.
    pub fn turn(&self, parameters: &ServiceParameters) -> Span {
        self.work("turn", parameters)
    }

    /// Begins the span of anything else, in the trace that the parameters name.
    pub fn work(&self, name: impl Into<Cow<'static, str>>, parameters: &ServiceParameters) -> Span {
        self.begin(name.into(), &SpanKind::Internal, parameters)
    }

    fn begin(&self, name: Cow<'static, str>, kind: &SpanKind, parameters: &ServiceParameters) -> Span {
        match self.0.get() {
            Some(None) => Span(None),
            Some(Some(tracer)) => Span(Some(build(tracer, name, kind, &surroundings(kind, parameters)))),
            None => self.first(name, kind, parameters),
        }
    }

    /// The first span says whether there is a provider: without one it is its parent again.
    #[cold]
    fn first(&self, name: Cow<'static, str>, kind: &SpanKind, parameters: &ServiceParameters) -> Span {
        let scope = InstrumentationScope::builder("a2a-webcap").with_version(env!("CARGO_PKG_VERSION"));
        let tracer = global::tracer_with_scope(scope.build());
        let surroundings = surroundings(kind, parameters);
        let context = build(&tracer, name, kind, &surroundings);
        let (own, parent) =
            (context.span().span_context().span_id(), surroundings.span().span_context().span_id());
        let is_real = own != SpanId::INVALID && own != parent;
        // Whoever was faster has come to the same answer.
        let _ = self.0.set(is_real.then_some(tracer));
        Span(is_real.then_some(context))
    }
}

fn build(tracer: &BoxedTracer, name: Cow<'static, str>, kind: &SpanKind, surroundings: &Context) -> Context {
    let mut builder = SpanBuilder::from_name(name.clone()).with_kind(SpanKind::clone(kind));
    if *kind != SpanKind::Internal {
        builder =
            builder.with_attributes([KeyValue::new("rpc.system", "a2a"), KeyValue::new("rpc.method", name)]);
    }
    // Only the span: what else its surroundings hold is not to outlive them here.
    Context::new().with_span(tracer.build_with_context(builder, surroundings))
}

/// What holds the parent of a span.
fn surroundings(kind: &SpanKind, parameters: &ServiceParameters) -> Context {
    let Some(parent) = parent(parameters) else {
        return if *kind == SpanKind::Client { Context::current() } else { Context::new() };
    };
    let hex = "its digits were looked at";
    let trace = TraceId::from_hex(parent.trace).expect(hex);
    let span = SpanId::from_hex(parent.span).expect(hex);
    let flags = TraceFlags::new(u8::from_str_radix(parent.flags, 16).expect(hex)) & TraceFlags::SAMPLED;
    let state = parameters.get(TRACESTATE).and_then(|state| state.parse::<TraceState>().ok());
    Context::new().with_remote_span_context(SpanContext::new(
        trace,
        span,
        flags,
        true,
        state.unwrap_or_default(),
    ))
}

/// A piece of work that is looked at from outside: until it is ended, or dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Context>);

impl Span {
    /// Whether anybody will see what is said of it.
    pub fn is_recording(&self) -> bool {
        self.0.as_ref().is_some_and(|context| context.span().is_recording())
    }

    /// The parameters with this span in its caller's place, for whoever is called next.
    pub fn carried_by<'a>(&self, parameters: &'a ServiceParameters) -> Cow<'a, ServiceParameters> {
        let Some(context) = &self.0 else { return Cow::Borrowed(parameters) };
        let span = context.span();
        let own = span.span_context();
        let flags = (own.trace_flags() & TraceFlags::SAMPLED).to_u8();
        let mut carried = parameters.clone();
        let parent = format!("00-{}-{}-{flags:02x}", own.trace_id(), own.span_id());
        // They may be so many that there is no room for one more: then the trace ends here, and nothing else does.
        let _ = carried.insert(TRACEPARENT, &parent);
        let state = own.trace_state().header();
        if !state.is_empty() {
            let _ = carried.insert(TRACESTATE, &state);
        }
        Cow::Owned(carried)
    }

    /// For what is done within it.
    pub fn scope(&self) -> Scope {
        Scope(self.0.clone())
    }

    /// Ends it; what came of it, others say.
    pub fn done(&self) {
        self.close();
    }

    pub(super) fn set(&self, name: impl Into<Cow<'static, str>>, value: &Value) {
        let Some(context) = &self.0 else { return };
        let value = match value {
            Value::Bool(flag) => opentelemetry::Value::from(*flag),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => whole.into(),
                (None, float) => float.unwrap_or(f64::NAN).into(),
            },
            Value::String(text) => text.clone().into(),
            Value::Null | Value::Array(_) | Value::Object(_) => return,
        };
        context.span().set_attribute(KeyValue::new(name.into(), value));
    }

    /// Records a failure.
    pub(super) fn fail(&self, kind: &'static str, message: &str) {
        let Some(context) = &self.0 else { return };
        let span = context.span();
        span.set_attribute(KeyValue::new("error.type", kind));
        span.set_status(Status::error(message.to_owned()));
        let said = KeyValue::new("exception.message", message.to_owned());
        span.add_event("exception", vec![KeyValue::new("exception.type", kind), said]);
    }

    pub(super) fn close(&self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

/// The span that a caller is in, to be taken along to another thread.
#[derive(Debug)]
pub struct Scope(Option<Context>);

impl Scope {
    /// Where this is called.
    pub fn current() -> Self {
        let context = Context::current();
        Self(context.has_active_span().then_some(context))
    }

    /// Spans that the future begins are then children of that span.
    pub fn around<F: Future>(self, future: F) -> Either<WithContext<F>, F> {
        match self.0 {
            Some(context) => Either::Left(future.with_context(context)),
            None => Either::Right(future),
        }
    }
}
