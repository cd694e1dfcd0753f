//! Traces as AIGNE's file: all spans as one array of JSON, in a ZIP archive with nothing else (PKWARE APPNOTE 6.3.10). Those read are whatever a person
//! sends: one archive, one file, bounded.

use super::view::{full, spans_of};
use super::{IDS_MAX, Wrong, ids_of, json_of, mistake, parsed};
use crate::http::body;
use crate::http::guard::Caller;
use crate::service::{Service, read};
use crate::traces::aigne::AigneSpan;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Crc;
use flate2::read::DeflateDecoder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

/// Most of a file that is unpacked.
const FILE_BYTES_MAX: u64 = 256 << 20;

pub async fn download(
    State(service): State<Arc<Service>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Wrong> {
    let said: Value = json_of(request, &service).await?;
    let ids = ids_of(&said);
    if ids.is_empty() {
        return Err(mistake(StatusCode::BAD_REQUEST, "ids array is required"));
    }
    let (mut rows, mut seen) = (Vec::new(), BTreeSet::new());
    for id in ids.iter().take(IDS_MAX) {
        // As there: names that are not known are left out.
        let Ok((spans, _, row)) = spans_of(&service, caller.scope(), id).await else { continue };
        if seen.insert(row.id) {
            rows.extend(spans.iter().map(|span| full(span, &row)));
        }
    }
    if rows.is_empty() {
        return Err(mistake(StatusCode::NOT_FOUND, "No traces found for provided ids"));
    }
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S-%3fZ").to_string();
    let text = serde_json::to_vec_pretty(&rows).unwrap_or_default();
    let Some(archive) = archive_of(&format!("traces-{now}.json"), &text) else {
        return Err(mistake(StatusCode::INTERNAL_SERVER_ERROR, "Failed to download traces"));
    };
    let name = format!("attachment; filename=traces-{now}.zip");
    Ok(([(header::CONTENT_TYPE, "application/zip".to_owned()), (header::CONTENT_DISPOSITION, name)], archive)
        .into_response())
}

pub async fn upload(
    State(service): State<Arc<Service>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Wrong> {
    let types = ["application/json", "application/zip", "application/x-zip-compressed"];
    body::media_type(request.headers(), &types)?;
    let is_plain = body::is_json(request.headers()).is_ok();
    let bytes = body::read_all(request.into_body(), &service).await?;
    let said: Value = if is_plain {
        parsed(&bytes)?
    } else {
        let Some(text) = file_of(&bytes) else {
            return Err(mistake(StatusCode::BAD_REQUEST, "No JSON file found in zip archive"));
        };
        parsed(&text)?
    };
    let said = if said["traces"].is_array() { said["traces"].clone() } else { said };
    let Value::Array(traces) = said else {
        return Err(mistake(StatusCode::BAD_REQUEST, "Invalid data format: traces array is required"));
    };
    let is_some = |trace: &Value, name: &str| trace[name].as_str().is_some_and(|text| !text.is_empty());
    let invalid: Vec<&str> = traces
        .iter()
        .filter(|trace| {
            !["id", "rootId", "name"].iter().all(|name| is_some(trace, name)) || !trace["startTime"].is_i64()
        })
        .map(|trace| trace["id"].as_str().unwrap_or("unknown"))
        .collect();
    if !invalid.is_empty() {
        let told = json!({
            "error": "Invalid trace data: missing required fields", "invalidTraces": invalid,
            "details": "Each trace must have id, rootId, name, and startTime",
        });
        return Err(Wrong::with((StatusCode::BAD_REQUEST, axum::Json(told)).into_response()));
    }
    let (mut success, mut failed, mut skipped) = (0, 0, 0);
    for trace in &traces {
        // Their table has null where nothing is known.
        let mut trace = trace.clone();
        if let Some(map) = trace.as_object_mut() {
            map.retain(|_, value| !value.is_null());
        }
        let Ok(span) = serde_json::from_value::<AigneSpan>(trace) else {
            failed += 1;
            continue;
        };
        let (id, scope) = (span.id.clone(), caller.scope());
        let wanted = id.clone();
        let known = read(&service.reader, move |reader| reader.told_span(&scope, &wanted)).await?;
        if known.is_some() {
            skipped += 1;
            continue;
        }
        match service.keep_span(&caller.tenant, (&id, true), move |_| Some(span.clone())).await {
            Ok(_) => success += 1,
            Err(_) => failed += 1,
        }
    }
    Ok(axum::Json(json!({
        "code": 0, "message": "Upload completed", "successCount": success, "failCount": failed,
        "skippedCount": skipped, "total": traces.len(),
    }))
    .into_response())
}

/// The signatures of a local header, an entry of the directory, and the end of that (4.3.7, 4.3.12, 4.3.16).
const LOCAL: u32 = 0x0403_4b50;
const ENTRY: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;

/// An archive of one file, as it is; `None` of one that is too long for the format.
fn archive_of(name: &str, content: &[u8]) -> Option<Vec<u8>> {
    let (size, name_size) = (u32::try_from(content.len()).ok()?, u16::try_from(name.len()).ok()?);
    let mut crc = Crc::new();
    crc.update(content);
    // Version 2.0, names in UTF-8, not compressed, the first day that the format knows.
    let mut common = Vec::new();
    for field in [20_u16, 1 << 11, 0, 0, 0x21] {
        common.extend(field.to_le_bytes());
    }
    for field in [crc.sum(), size, size] {
        common.extend(field.to_le_bytes());
    }
    common.extend(name_size.to_le_bytes());
    common.extend(0_u16.to_le_bytes());
    let mut archive = LOCAL.to_le_bytes().to_vec();
    archive.extend(&common);
    archive.extend(name.as_bytes());
    archive.extend(content);
    let directory = u32::try_from(archive.len()).ok()?;
    archive.extend(ENTRY.to_le_bytes());
    archive.extend(20_u16.to_le_bytes());
    archive.extend(&common);
    // No comment, the first disk, no attributes, at the beginning.
    archive.extend([0; 14]);
    archive.extend(name.as_bytes());
    let length = u32::try_from(archive.len()).ok()? - directory;
    archive.extend(END.to_le_bytes());
    for field in [0_u16, 0, 1, 1] {
        archive.extend(field.to_le_bytes());
    }
    archive.extend(length.to_le_bytes());
    archive.extend(directory.to_le_bytes());
    archive.extend(0_u16.to_le_bytes());
    Some(archive)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(|pair| usize::from(u16::from_le_bytes(pair)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

/// The content of the first file of an archive whose name ends in `.json`, if there is one that can be read.
fn file_of(archive: &[u8]) -> Option<Vec<u8>> {
    // Behind the end there may be a comment of 64 KiB.
    let first = archive.len().saturating_sub(22 + 0xffff);
    let end = (first..archive.len().saturating_sub(21)).rev().find(|at| u32_at(archive, *at) == Some(END))?;
    let (count, mut at) = (u16_at(archive, end + 10)?, u32_at(archive, end + 16)? as usize);
    for _ in 0..count {
        if u32_at(archive, at)? != ENTRY {
            return None;
        }
        let lengths = (u16_at(archive, at + 28)?, u16_at(archive, at + 30)?, u16_at(archive, at + 32)?);
        let name = archive.get(at + 46..(at + 46).checked_add(lengths.0)?)?;
        if name.ends_with(b".json") {
            let (method, packed) = (u16_at(archive, at + 10)?, u32_at(archive, at + 20)? as usize);
            let local = u32_at(archive, at + 42)? as usize;
            if u32_at(archive, local)? != LOCAL {
                return None;
            }
            let start =
                local.checked_add(30 + u16_at(archive, local + 26)? + u16_at(archive, local + 28)?)?;
            return unpacked(method, archive.get(start..start.checked_add(packed)?)?);
        }
        at = at.checked_add(46 + lengths.0 + lengths.1 + lengths.2)?;
    }
    None
}

fn unpacked(method: usize, packed: &[u8]) -> Option<Vec<u8>> {
    match method {
        0 => Some(packed.to_vec()),
        8 => {
            let mut content = Vec::new();
            let read = DeflateDecoder::new(packed).take(FILE_BYTES_MAX + 1).read_to_end(&mut content).ok()?;
            (read as u64 <= FILE_BYTES_MAX).then_some(content)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_archive_comes_back() {
        let archive = archive_of("traces.json", b"[1,2]").unwrap();
        assert_eq!(file_of(&archive).unwrap(), b"[1,2]");
        assert_eq!(file_of(&archive_of("traces.txt", b"[1,2]").unwrap()), None);
    }

    proptest! {
        #[test]
        fn damaged_archives_are_refused_or_read(at in 0_usize..140, byte: u8, cut in 0_usize..140) {
            let mut archive = archive_of("a.json", b"[1,2,3,4]").unwrap();
            if let Some(old) = archive.get_mut(at) {
                *old = byte;
            }
            archive.truncate(archive.len().saturating_sub(cut));
            drop(file_of(&archive));
        }
    }
}
