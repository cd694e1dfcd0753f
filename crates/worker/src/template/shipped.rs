//! The templates that come with fireclay, as they are written.

/// Every one by name, with the lock of its packages: those of languages with a runner of ours first, each group by name.
pub(super) const FILES: [(&str, &str, Option<&str>); 14] = [
    ("bash", include_str!("../../../../policy/templates/bash.toml"), None),
    ("node", include_str!("../../../../policy/templates/node.toml"), None),
    ("python", include_str!("../../../../policy/templates/python.toml"), None),
    (
        "python-data",
        include_str!("../../../../policy/templates/python-data.toml"),
        Some(include_str!("../../../../policy/templates/python-data.lock")),
    ),
    ("typescript", include_str!("../../../../policy/templates/typescript.toml"), None),
    ("c", include_str!("../../../../policy/templates/c.toml"), None),
    ("cpp", include_str!("../../../../policy/templates/cpp.toml"), None),
    ("go", include_str!("../../../../policy/templates/go.toml"), None),
    ("java", include_str!("../../../../policy/templates/java.toml"), None),
    ("perl", include_str!("../../../../policy/templates/perl.toml"), None),
    ("php", include_str!("../../../../policy/templates/php.toml"), None),
    ("r", include_str!("../../../../policy/templates/r.toml"), None),
    ("ruby", include_str!("../../../../policy/templates/ruby.toml"), None),
    ("rust", include_str!("../../../../policy/templates/rust.toml"), None),
];
