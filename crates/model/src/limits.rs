//! How much a run may use, and every maximum that the code relies on.
//!
//! [`LimitsPatch`] is what a caller said; [`Limits`] is complete. Merging clamps: it can only narrow a ceiling.

use serde::{Deserialize, Serialize};

/// Largest program text accepted.
pub const CODE_BYTES_MAX: usize = 4 << 20;
/// Largest number of input files of a run.
pub const INPUT_FILES_MAX: usize = 1024;
/// Most arguments and environment variables of a run, each.
pub const WORDS_MAX: usize = 1024;
/// Largest total of arguments and environment, under the kernel's own 2 MiB default (`execve(2)`, stack/4).
pub const WORDS_BYTES_MAX: usize = 1 << 20;
/// Largest payload of one frame on the result channel.
pub const FRAME_BYTES_MAX: usize = 8 << 20;
/// Largest total of all frames of one run; later frames are drained and dropped.
pub const FRAMES_BYTES_MAX: usize = 32 << 20;
/// Most JSON values in all frames of one run: each costs up to a hundred bytes of memory and may be two in the frame.
pub const FRAME_VALUES_MAX: usize = 200_000;
/// Most rich displays kept of one run.
pub const DISPLAYS_MAX: usize = 64;
/// Most artifacts collected of one run.
pub const ARTIFACTS_MAX: usize = 1024;
/// Deepest directory below the workspace that is searched for artifacts.
pub const ARTIFACT_DEPTH_MAX: usize = 32;
/// Most directory entries looked at while collecting artifacts.
pub const ARTIFACT_ENTRIES_MAX: usize = 20_000;
/// Longest name of a template, in bytes.
pub const TEMPLATE_NAME_BYTES_MAX: usize = 64;
/// Longest relative path of an input file or artifact, in bytes.
pub const PATH_BYTES_MAX: usize = 1024;
/// Output beyond this many times `output_bytes` ends the run as `output_exceeded`.
pub const OUTPUT_HARD_FACTOR: u64 = 64;

const _: () = assert!(FRAME_BYTES_MAX <= FRAMES_BYTES_MAX);
const _: () = assert!(WORDS_BYTES_MAX <= 2 << 20);

/// What a run may use; complete. Units are in the names.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Wall time from the start of the code to its end.
    pub timeout_ms: u64,
    /// Memory of all processes together, files on tmpfs not counted.
    pub memory_bytes: u64,
    /// Processors' worth of time, as a rate: 1.5 is one and a half.
    pub cpus: f64,
    /// Processes and threads alive at once.
    pub processes: u64,
    /// Files written to the workspace, home, `/tmp` and `/dev/shm` together.
    pub disk_bytes: u64,
    /// Output kept of each stream; more is drained and counted.
    pub output_bytes: u64,
}

/// The limits a caller named; what is absent is inherited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LimitsPatch {
    /// See [`Limits::timeout_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// See [`Limits::memory_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// See [`Limits::cpus`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// See [`Limits::processes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// See [`Limits::disk_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// See [`Limits::output_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
}

impl LimitsPatch {
    /// These, and where nothing is said the other's.
    pub fn or(self, other: &LimitsPatch) -> LimitsPatch {
        LimitsPatch {
            timeout_ms: self.timeout_ms.or(other.timeout_ms),
            memory_bytes: self.memory_bytes.or(other.memory_bytes),
            cpus: self.cpus.or(other.cpus),
            processes: self.processes.or(other.processes),
            disk_bytes: self.disk_bytes.or(other.disk_bytes),
            output_bytes: self.output_bytes.or(other.output_bytes),
        }
    }
}

impl Limits {
    /// The smallest limits with which an interpreter starts at all; what is asked below is raised to these.
    pub const FLOOR: Limits = Limits {
        timeout_ms: 10,
        memory_bytes: 16 << 20,
        cpus: 0.05,
        processes: 4,
        disk_bytes: 64 << 10,
        output_bytes: 0,
    };

    /// These limits with what the caller named, held between [`Limits::FLOOR`] and `ceiling`.
    pub fn narrowed(&self, patch: &LimitsPatch, ceiling: &Limits) -> Limits {
        let floor = &Self::FLOOR;
        // A ceiling under the floor wins: an operator's word is final.
        let whole = |said: Option<u64>, own: u64, floor: u64, ceiling: u64| {
            said.unwrap_or(own).max(floor).min(ceiling)
        };
        let cpus = patch.cpus.filter(|cpus| cpus.is_finite()).unwrap_or(self.cpus);
        Limits {
            timeout_ms: whole(patch.timeout_ms, self.timeout_ms, floor.timeout_ms, ceiling.timeout_ms),
            memory_bytes: whole(
                patch.memory_bytes,
                self.memory_bytes,
                floor.memory_bytes,
                ceiling.memory_bytes,
            ),
            cpus: cpus.max(floor.cpus).min(ceiling.cpus),
            processes: whole(patch.processes, self.processes, floor.processes, ceiling.processes),
            disk_bytes: whole(patch.disk_bytes, self.disk_bytes, floor.disk_bytes, ceiling.disk_bytes),
            output_bytes: whole(
                patch.output_bytes,
                self.output_bytes,
                floor.output_bytes,
                ceiling.output_bytes,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits() -> impl Strategy<Value = Limits> {
        (any::<u64>(), any::<u64>(), 0.0..1e6f64, any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
            |(timeout_ms, memory_bytes, cpus, processes, disk_bytes, output_bytes)| Limits {
                timeout_ms,
                memory_bytes,
                cpus,
                processes,
                disk_bytes,
                output_bytes,
            },
        )
    }

    proptest! {
        #[test]
        fn merging_never_exceeds_the_ceiling(own in limits(), said in limits(), ceiling in limits(), keep in any::<bool>()) {
            let patch = LimitsPatch {
                timeout_ms: keep.then_some(said.timeout_ms),
                memory_bytes: Some(said.memory_bytes),
                cpus: Some(if keep { said.cpus } else { f64::NAN }),
                processes: Some(said.processes),
                disk_bytes: Some(said.disk_bytes),
                output_bytes: keep.then_some(said.output_bytes),
            };
            let merged = own.narrowed(&patch, &ceiling);
            prop_assert!(merged.timeout_ms <= ceiling.timeout_ms);
            prop_assert!(merged.memory_bytes <= ceiling.memory_bytes);
            prop_assert!(merged.cpus <= ceiling.cpus);
            prop_assert!(merged.processes <= ceiling.processes);
            prop_assert!(merged.disk_bytes <= ceiling.disk_bytes);
            prop_assert!(merged.output_bytes <= ceiling.output_bytes);
        }
    }
}
