//! Fuzz targets: what must hold for any bytes at all.

use model::limits::{DISPLAYS_MAX, FRAME_BYTES_MAX};
use model::{Language, spec::check_path, units};
use sandbox::command::Command;
use sandbox::frames::{Frames, Said};
use sandbox::output::Captured;

fn hear(pieces: &[&[u8]]) -> Said {
    let mut frames = Frames::default();
    pieces.iter().for_each(|piece| frames.push(piece));
    frames.finish()
}

/// The guest's frames: never a panic, the same in any pieces, and no more than the bounds allow.
#[test]
fn frames() {
    bolero::check!().with_type::<(Vec<u8>, usize)>().for_each(|(bytes, cut)| {
        let cut = cut.checked_rem(bytes.len().max(1)).unwrap_or(0);
        let whole = hear(&[bytes]);
        assert_eq!(whole, hear(&[&bytes[..cut], &bytes[cut..]]));
        assert!(whole.displays.len() <= DISPLAYS_MAX);
    });
}

/// Frames with a right head and any payload.
#[test]
fn framed_payloads() {
    bolero::check!().with_type::<Vec<(u8, Vec<u8>)>>().for_each(|frames| {
        let mut bytes = Vec::new();
        for (kind, payload) in frames {
            bytes.push(kind % 5);
            bytes.extend((payload.len() as u32).to_le_bytes());
            bytes.extend(payload);
        }
        assert!(bytes.len() <= FRAME_BYTES_MAX || hear(&[&bytes]) == Said::default());
        let said = hear(&[&bytes]);
        assert_eq!(said, hear(&bytes.chunks(3).collect::<Vec<_>>()));
    });
}

/// A path that is accepted stays below the workspace, whoever reads it.
#[test]
fn file_names() {
    bolero::check!().with_type::<String>().for_each(|path| {
        if check_path("path", path).is_ok() {
            let joined = std::path::Path::new("/workspace").join(path);
            assert!(joined.starts_with("/workspace") && joined != std::path::Path::new("/workspace"));
            assert!(joined.components().all(|part| !matches!(part, std::path::Component::ParentDir)));
            assert!(!path.contains(['\0', '\n', '\x1b']));
        }
    });
}

/// A command that init decodes is the one that was encoded; any other bytes are none, or one that encodes to as much.
#[test]
fn commands() {
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        if let Some(command) = Command::decode(bytes) {
            assert_eq!(Command::decode(&command.encode()), Some(command));
        }
    });
}

/// Output of any kind is bounded, and whole when it fits.
#[test]
fn output() {
    bolero::check!().with_type::<(Vec<Vec<u8>>, u8)>().for_each(|(pieces, limit)| {
        let mut captured = Captured::new(u64::from(*limit));
        for piece in pieces {
            captured.push(piece);
        }
        let whole = pieces.concat();
        assert_eq!(captured.total_bytes(), whole.len() as u64);
        if whole.len() <= usize::from(*limit) {
            assert_eq!(captured.text(), String::from_utf8_lossy(&whole));
        }
    });
}

/// What people type: never a panic.
#[test]
fn words() {
    bolero::check!().with_type::<String>().for_each(|text| {
        assert!(
            units::parse_bytes(text).is_err()
                || text.trim().starts_with(|c: char| c.is_ascii_digit() || c == '.')
        );
        assert!(
            units::parse_duration_ms(text).is_err()
                || text.trim().starts_with(|c: char| c.is_ascii_digit() || c == '.')
        );
        assert!(text.parse::<Language>().is_err() || text.is_ascii());
        assert!(Language::of_shebang(text).is_none() || text.starts_with("#!"));
    });
}

/// Programs that are checked: never a panic, and never more findings than there may be.
#[test]
fn checked_programs() {
    bolero::check!().with_type::<(u8, String)>().for_each(|(language, source)| {
        let language = Language::ALL[usize::from(*language) % Language::ALL.len()];
        for policy in model::CheckPolicy::ALL {
            assert!(check::check(source, language, policy).findings.len() <= check::FINDINGS_MAX);
        }
    });
}
