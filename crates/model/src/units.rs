//! Durations, sizes and shares as people write them: `20s`, `512MiB`, `1.5`.

/// Parses a duration: a number with `ms`, `s`, `m` or `h`; a bare number is seconds. Returns milliseconds, or why not.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "ms" => 1.0,
        "" | "s" | "sec" => 1e3,
        "m" | "min" => 60e3,
        "h" => 3600e3,
        other => return Err(format!("unknown unit {other:?}: use ms, s, m or h, as in 20s")),
    };
    scaled(number, factor, "a duration such as 500ms, 20s or 5m")
}

/// Parses a size: a number with `B`, `KiB`, `MiB`, `GiB`, or the decimal `kB`, `MB`, `GB`. Returns bytes, or why not.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "ki" | "kib" => 1024.0,
        "m" | "mi" | "mib" => 1024.0 * 1024.0,
        "g" | "gi" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        other => return Err(format!("unknown unit {other:?}: use KiB, MiB or GiB, as in 512MiB")),
    };
    scaled(number, factor, "a size such as 64KiB, 512MiB or 1GiB")
}

/// Writes bytes with the largest binary unit that divides them evenly.
pub fn format_bytes(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    format!("{bytes}B")
}

/// Writes milliseconds as seconds where that is exact.
pub fn format_duration_ms(ms: u64) -> String {
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

fn scaled(number: &str, factor: f64, expected: &str) -> Result<u64, String> {
    let value: f64 = number.parse().map_err(|_| format!("expected {expected}"))?;
    let value = value * factor;
    // 2^53: the largest range in which every whole number is exact in a float.
    if !value.is_finite() || value > 9_007_199_254_740_992.0 {
        return Err(format!("too large: expected {expected}"));
    }
    Ok(value.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration_ms("20s"), Ok(20_000));
        assert_eq!(parse_duration_ms("1.5"), Ok(1_500));
        assert_eq!(parse_duration_ms("250 ms"), Ok(250));
        assert_eq!(parse_duration_ms("2m"), Ok(120_000));
        assert!(parse_duration_ms("soon").is_err());
        assert!(parse_duration_ms("3 weeks").is_err());
        assert!(parse_duration_ms("-1s").is_err());
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_bytes("512MiB"), Ok(536_870_912));
        assert_eq!(parse_bytes("1g"), Ok(1 << 30));
        assert_eq!(parse_bytes("1MB"), Ok(1_000_000));
        assert_eq!(parse_bytes("77"), Ok(77));
        assert!(parse_bytes("9999999999GiB").is_err());
        assert!(parse_bytes("").is_err());
        assert_eq!(format_bytes(536_870_912), "512MiB");
        assert_eq!(format_bytes(1000), "1000B");
    }
}
