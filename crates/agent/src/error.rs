//! Why a model gave no answer.

use crate::bounded::escaped;
use serde_json::Value;
use std::time::Duration;

/// Longest message of a provider that is passed on, in characters.
const MESSAGE_CHARS_MAX: usize = 500;

/// Why a model gave no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// The key is missing, wrong, or not for this model.
    #[error("the provider refuses the key: {0}")]
    KeyRefused(String),
    /// The conversation is longer than the model reads.
    #[error("the conversation is too long for the model: {0}")]
    ContextLength(String),
    /// The request is one that the provider does not take.
    #[error("the provider refuses the request: {0}")]
    Rejected(String),
    /// Too much was asked for in too short a time, or the account is empty.
    #[error("the provider takes no more requests now: {message}")]
    RateLimited {
        /// What it says.
        message: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
        /// Whether waiting helps.
        passes: bool,
    },
    /// It cannot be reached, is overloaded or failed.
    #[error("the provider does not answer: {message}")]
    Unavailable {
        /// What is known of it.
        message: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// It answered with something that is no answer.
    #[error("the provider's answer cannot be read: {0}")]
    Malformed(String),
    /// We were told to stop.
    #[error("stopped")]
    Stopped,
}

impl ModelError {
    /// Reads an answer that is an error: by its status, and by what its body says in any provider's shape.
    pub fn of_answer(status: u16, retry_after: Option<Duration>, body: &str) -> Self {
        let value: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        // Gemini's stream puts the object into a list.
        let value = value.as_array().and_then(|list| list.first()).unwrap_or(&value);
        let error = &value["error"];
        let message = [&error["message"], &value["message"], &value["detail"], error]
            .into_iter()
            .find_map(Value::as_str)
            .unwrap_or(body);
        let mut message: String = escaped(message.trim()).chars().take(MESSAGE_CHARS_MAX).collect();
        if message.is_empty() {
            message = format!("status {status}");
        }
        let word = |name: &str| error[name].as_str().unwrap_or_default();
        let is_of = |words: &[&str]| {
            words.iter().any(|kind| [word("code"), word("type"), word("status")].contains(kind))
        };
        let lower = message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|words| lower.contains(words));
        if is_of(&["context_length_exceeded"])
            || (matches!(status, 0 | 400 | 413 | 422)
                && says(&[
                    "context length",
                    "context window",
                    "prompt is too long",
                    "too many tokens",
                    "token count",
                ]))
        {
            return Self::ContextLength(message);
        }
        if is_of(&["insufficient_quota", "billing_error"]) || status == 402 {
            return Self::RateLimited { message, retry_after, passes: false };
        }
        if status == 429 || is_of(&["rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED"]) {
            return Self::RateLimited { message, retry_after, passes: true };
        }
        if matches!(status, 401 | 403)
            || is_of(&["authentication_error", "permission_error"])
            || says(&["api key not valid"])
        {
            return Self::KeyRefused(message);
        }
        // 408 and 425 say so themselves; 529 is Anthropic's word for too much to do. Words count where there is no status, within a stream:
        // Ollama says `api_error` of a request that it will never take.
        if status >= 500
            || matches!(status, 408 | 425)
            || (status == 0 && is_of(&["overloaded_error", "api_error", "server_error"]))
        {
            return Self::Unavailable { message, retry_after };
        }
        Self::Rejected(message)
    }

    /// How long to wait at least before another attempt may help; `None` if none will.
    pub fn worth_waiting(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, passes: true, .. } | Self::Unavailable { retry_after, .. } => {
                Some(retry_after.unwrap_or_default())
            }
            Self::Malformed(_) => Some(Duration::ZERO),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_providers_say_and_what_is_made_of_it() {
        let kind = |status, body: &str| match ModelError::of_answer(status, None, body) {
            ModelError::KeyRefused(_) => "key",
            ModelError::ContextLength(_) => "context",
            ModelError::Rejected(_) => "rejected",
            ModelError::RateLimited { passes: true, .. } => "rate",
            ModelError::RateLimited { .. } => "empty",
            ModelError::Unavailable { .. } => "unavailable",
            _ => "other",
        };
        for (status, body, wanted) in [
            (
                401,
                r#"{"error":{"message":"Incorrect API key provided: sk-x","type":"invalid_request_error","code":"invalid_api_key"}}"#,
                "key",
            ),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 128000 tokens.","code":"context_length_exceeded"}}"#,
                "context",
            ),
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                "empty",
            ),
            (
                429,
                r#"{"error":{"message":"Rate limit reached","type":"tokens","code":"rate_limit_exceeded"}}"#,
                "rate",
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
                "context",
            ),
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                "unavailable",
            ),
            (
                0,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                "unavailable",
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]"#,
                "key",
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
                "context",
            ),
            (
                429,
                r#"{"error":{"code":429,"message":"Resource has been exhausted","status":"RESOURCE_EXHAUSTED"}}"#,
                "rate",
            ),
            (
                400,
                r#"{"error":{"message":"registry.ollama.ai/library/x does not support tools","type":"api_error"}}"#,
                "rejected",
            ),
            (422, r#"{"detail":"no"}"#, "rejected"),
            (404, "<html>not here</html>", "rejected"),
            (502, "", "unavailable"),
        ] {
            assert_eq!(kind(status, body), wanted, "{status} {body}");
        }
        let said = ModelError::of_answer(400, None, &format!("\u{1b}[2J{}", "x".repeat(9999))).to_string();
        assert!(said.len() < 700 && said.contains("\\u{1b}"), "{said}");
    }
}
