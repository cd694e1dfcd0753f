//! Spans as OTLP/HTTP wants them: `ExportTraceServiceRequest` of opentelemetry-proto 1.x, in Protocol Buffers' binary form. Written only, so the
//! few messages are spelled here by field number; a test has the official Python package read them.

use crate::traces::{Payload, Span, SpanKind, SpanStatus};
use model::{SpanId, TraceId};
use serde_json::{Map, Value};

/// Wire types (protobuf.dev/programming-guides/encoding).
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;

/// A message on its way.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn key(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.key(field, VARINT);
        self.varint(number);
    }

    fn fixed(&mut self, field: u64, number: u64) {
        self.key(field, FIXED64);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// `KeyValue`.
    fn attribute(&mut self, field: u64, name: &str, value: &Value) {
        self.message(field, |pair| {
            pair.bytes(1, name.as_bytes());
            pair.message(2, |any| any.any(value));
        });
    }

    fn attributes(&mut self, field: u64, attributes: &Map<String, Value>) {
        for (name, value) in attributes {
            self.attribute(field, name, value);
        }
    }

    /// The one field of `AnyValue` that is set; none for null.
    fn any(&mut self, value: &Value) {
        match value {
            Value::Null => {}
            Value::String(text) => self.bytes(1, text.as_bytes()),
            Value::Bool(flag) => self.number(2, u64::from(*flag)),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                // Negative ones as the two's complement of 64 bits.
                (Some(int), _) => self.number(3, int as u64),
                (None, float) => self.fixed(4, float.unwrap_or_default().to_bits()),
            },
            Value::Array(values) => self.message(5, |array| {
                for value in values {
                    array.message(1, |any| any.any(value));
                }
            }),
            Value::Object(fields) => self.message(6, |list| list.attributes(1, fields)),
        }
    }

    /// `Span`, and all within it, each as a field of its own.
    fn spans(&mut self, field: u64, trace: TraceId, span: &Span) {
        self.message(field, |message| message.span(trace, span));
        for child in &span.children {
            self.spans(field, trace, child);
        }
    }

    fn span(&mut self, trace: TraceId, span: &Span) {
        self.bytes(1, trace.as_bytes());
        if let Ok(id) = span.id.parse::<SpanId>() {
            self.bytes(2, id.as_bytes());
        }
        if let Some(parent) = span.parent.as_ref().and_then(|parent| parent.parse::<SpanId>().ok()) {
            self.bytes(4, parent.as_bytes());
        }
        self.bytes(5, span.name.as_bytes());
        self.number(
            6,
            match span.kind {
                SpanKind::Internal => 1,
                SpanKind::Server => 2,
                SpanKind::Client => 3,
            },
        );
        self.fixed(7, nanoseconds(span.start_us));
        self.fixed(8, nanoseconds(span.end_us.unwrap_or(span.start_us)));
        self.attributes(9, &span.attributes);
        for (name, payload) in [("fireclay.input", &span.input), ("fireclay.output", &span.output)] {
            if let Some(Payload { text: Some(text), .. }) = payload {
                self.attribute(9, name, &Value::from(text.as_str()));
            }
        }
        for event in &span.events {
            let at = event.at.parse::<jiff::Timestamp>().map_or(span.start_us, |at| at.as_microsecond());
            self.message(11, |message| {
                message.fixed(1, nanoseconds(at));
                message.bytes(2, event.name.as_bytes());
                message.attributes(3, &event.attributes);
            });
        }
        self.message(15, |status| {
            if let Some(why) = &span.message {
                status.bytes(2, why.as_bytes());
            }
            status.number(
                3,
                match span.status {
                    SpanStatus::Unset => 0,
                    SpanStatus::Ok => 1,
                    SpanStatus::Error => 2,
                },
            );
        });
    }
}

fn nanoseconds(us: i64) -> u64 {
    u64::try_from(us).unwrap_or(0).saturating_mul(1000)
}

/// The request for these spans, each with the trace that it is of and the tenant whose that is.
pub fn request(spans: &[(TraceId, String, Span)]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |of_resource| {
        of_resource.message(1, |resource| {
            resource.attribute(1, "service.name", &"fireclay".into());
            resource.attribute(1, "service.version", &env!("CARGO_PKG_VERSION").into());
        });
        of_resource.message(2, |of_scope| {
            of_scope.message(1, |scope| {
                scope.bytes(1, b"fireclay");
                scope.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
            });
            for (trace, tenant, span) in spans {
                let root = span.clone().with("fireclay.tenant", tenant.as_str());
                of_scope.spans(2, *trace, &root);
            }
        });
    });
    request.0
}
