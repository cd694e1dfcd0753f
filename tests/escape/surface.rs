//! The system calls that get through, as seen from inside: compared with the filter's own table and kept as a golden file.
