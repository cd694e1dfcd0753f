//! The record, read by those who may not wait.

use crate::problem::Problem;
use store::{Reader, StoreError};

/// Reads from the store in a thread that may wait.
pub async fn read<T: Send + 'static>(
    reader: &Reader,
    query: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let reader = reader.clone();
    let answer = tokio::task::spawn_blocking(move || query(&reader)).await;
    answer.unwrap_or(Err(StoreError::Closed)).map_err(Problem::from)
}
